DROP TABLE business_settings;

DROP TRIGGER business_settings_set_updated_at ON business_settings;
DROP TRIGGER users_set_updated_at ON users;
DROP TRIGGER tenants_set_updated_at ON tenants;
DROP FUNCTION set_updated_at();
DROP INDEX users_email_lower_key;

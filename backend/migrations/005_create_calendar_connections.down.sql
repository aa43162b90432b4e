DROP TABLE oauth_states;
DROP TABLE calendar_connections;

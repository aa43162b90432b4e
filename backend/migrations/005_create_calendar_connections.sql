-- The calendar that a business has connected. Tokens are encrypted by the application (AES-256-GCM), never here.
CREATE TABLE calendar_connections (
    tenant_id uuid PRIMARY KEY,
    account text,
    scopes text NOT NULL,
    refresh_token bytea NOT NULL,
    access_token bytea NOT NULL,
    access_token_expires_at timestamptz NOT NULL,
    refresh_claimed_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT calendar_connections_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT calendar_connections_account_check CHECK (char_length(account) <= 254)
);

-- One attempt to connect a calendar: used once, and for some minutes only. Of the state the hash is kept.
CREATE TABLE oauth_states (
    state_hash bytea PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    code_verifier bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT oauth_states_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT oauth_states_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT oauth_states_state_hash_check CHECK (octet_length(state_hash) = 32)
);

CREATE INDEX oauth_states_tenant_id_idx ON oauth_states (tenant_id);
CREATE INDEX oauth_states_user_id_idx ON oauth_states (user_id);
CREATE INDEX oauth_states_expires_at_idx ON oauth_states (expires_at);

CREATE TRIGGER calendar_connections_set_updated_at
    BEFORE UPDATE ON calendar_connections
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION set_updated_at();

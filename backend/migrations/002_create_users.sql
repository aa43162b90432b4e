-- A user logs in for one tenant. An owner may change its settings, a member may read them.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL DEFAULT 'owner',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT users_email_check CHECK (position('@' IN email) > 1 AND char_length(email) <= 254),
    CONSTRAINT users_name_check CHECK (btrim(name) <> '' AND char_length(name) <= 200),
    CONSTRAINT users_password_hash_check CHECK (password_hash LIKE '$argon2%'),
    CONSTRAINT users_role_check CHECK (role IN ('owner', 'member'))
);

CREATE INDEX users_tenant_id_idx ON users (tenant_id);

-- How the receptionist of a tenant behaves. The primary key is the tenant: it has one row of settings.
CREATE TABLE business_settings (
    tenant_id uuid PRIMARY KEY,
    timezone text NOT NULL DEFAULT 'UTC',
    phone_number text,
    receptionist_enabled boolean NOT NULL DEFAULT false,
    greeting text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT business_settings_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT business_settings_timezone_check CHECK (timezone <> '' AND char_length(timezone) <= 64),
    CONSTRAINT business_settings_phone_number_check CHECK (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
    CONSTRAINT business_settings_greeting_check CHECK (char_length(greeting) <= 1000),
    CONSTRAINT business_settings_receptionist_check CHECK (NOT receptionist_enabled OR phone_number IS NOT NULL)
);

-- A call is routed by the number it was made to, so a number belongs to one business.
CREATE UNIQUE INDEX business_settings_phone_number_key ON business_settings (phone_number);

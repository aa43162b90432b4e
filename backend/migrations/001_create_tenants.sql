-- A tenant is a business that is a customer of MAYA. Everything else belongs to one.
CREATE TABLE tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenants_name_check CHECK (btrim(name) <> '' AND char_length(name) <= 200)
);

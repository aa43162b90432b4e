-- An appointment of a business. Two confirmed ones of a business never overlap: the exclusion constraint says so,
-- whatever the application believes. A range over uuid, of one element each, stands for "the same tenant" in it, so
-- that no extension is needed.
CREATE TYPE uuidrange AS RANGE (subtype = uuid);

CREATE TABLE bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'confirmed',
    customer_name text NOT NULL,
    customer_phone text,
    customer_email text,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    notes text NOT NULL DEFAULT '',
    amount numeric(10, 2),
    currency text,
    calendar_checked boolean NOT NULL DEFAULT false,
    cancelled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT bookings_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT bookings_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT bookings_status_check CHECK (status IN ('confirmed', 'cancelled')),
    CONSTRAINT bookings_cancelled_at_check CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
    CONSTRAINT bookings_customer_name_check CHECK (btrim(customer_name) <> '' AND char_length(customer_name) <= 200),
    CONSTRAINT bookings_customer_phone_check CHECK (customer_phone ~ '^\+[1-9][0-9]{6,14}$'),
    CONSTRAINT bookings_customer_email_check
        CHECK (position('@' IN customer_email) > 1 AND char_length(customer_email) <= 254),
    CONSTRAINT bookings_times_check CHECK (ends_at > starts_at AND ends_at - starts_at <= interval '24 hours'),
    CONSTRAINT bookings_notes_check CHECK (char_length(notes) <= 2000),
    CONSTRAINT bookings_amount_check CHECK (amount >= 0.50 AND amount < 100000000),
    CONSTRAINT bookings_currency_check CHECK ((amount IS NULL) = (currency IS NULL) AND currency ~ '^[a-z]{3}$'),
    CONSTRAINT bookings_no_overlap EXCLUDE USING gist (
        uuidrange(tenant_id, tenant_id, '[]') WITH &&,
        tstzrange(starts_at, ends_at) WITH &&
    ) WHERE (status = 'confirmed')
);

-- The list of a business, newest first, page by page.
CREATE INDEX bookings_tenant_id_starts_at_idx ON bookings (tenant_id, starts_at DESC, id DESC);

CREATE TRIGGER bookings_set_updated_at
    BEFORE UPDATE ON bookings
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION set_updated_at();

-- What a customer is asked to pay for a booking, by a payment link. A payment's booking is one of the same tenant.
CREATE TABLE payments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    booking_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    amount numeric(10, 2) NOT NULL,
    currency text NOT NULL,
    payment_link_id text,
    payment_link_url text,
    paid_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payments_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT payments_booking_fkey FOREIGN KEY (tenant_id, booking_id)
        REFERENCES bookings (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT payments_status_check CHECK (status IN ('pending', 'paid', 'failed', 'cancelled', 'refunded')),
    CONSTRAINT payments_amount_check CHECK (amount >= 0.50 AND amount < 100000000),
    CONSTRAINT payments_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT payments_link_check CHECK ((payment_link_id IS NULL) = (payment_link_url IS NULL)),
    CONSTRAINT payments_paid_at_check CHECK ((status IN ('paid', 'refunded')) = (paid_at IS NOT NULL))
);

CREATE INDEX payments_tenant_id_booking_id_idx ON payments (tenant_id, booking_id, created_at DESC);

-- A booking has one payment at a time that is open or made.
CREATE UNIQUE INDEX payments_booking_id_key ON payments (booking_id) WHERE status IN ('pending', 'paid');

CREATE TRIGGER payments_set_updated_at
    BEFORE UPDATE ON payments
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION set_updated_at();

-- The vendor's messages that took effect. It sends each at least once, and each takes effect once.
CREATE TABLE webhook_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_events_id_check CHECK (id <> '' AND char_length(id) <= 255),
    CONSTRAINT webhook_events_type_check CHECK (char_length(type) <= 255)
);

CREATE INDEX webhook_events_received_at_idx ON webhook_events (received_at);

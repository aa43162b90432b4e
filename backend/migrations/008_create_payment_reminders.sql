-- The text message that reminds a customer of an open payment. A worker takes one that is due, says so by `sending`
-- and `claimed_at` before it asks the vendor, and writes down what came of it.
CREATE TABLE payment_reminders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    phone_number text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    due_at timestamptz NOT NULL,
    claimed_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    message_sid text,
    last_error text,
    sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_reminders_payment_id_key UNIQUE (payment_id),
    CONSTRAINT payment_reminders_payment_fkey FOREIGN KEY (tenant_id, payment_id)
        REFERENCES payments (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT payment_reminders_status_check
        CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'unknown', 'cancelled')),
    CONSTRAINT payment_reminders_claimed_at_check CHECK (status <> 'sending' OR claimed_at IS NOT NULL),
    CONSTRAINT payment_reminders_sent_at_check CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT payment_reminders_phone_number_check CHECK (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
    CONSTRAINT payment_reminders_attempts_check CHECK (attempts >= 0),
    CONSTRAINT payment_reminders_last_error_check CHECK (char_length(last_error) <= 500)
);

CREATE INDEX payment_reminders_tenant_id_payment_id_idx ON payment_reminders (tenant_id, payment_id);
CREATE INDEX payment_reminders_due_at_idx ON payment_reminders (due_at) WHERE status = 'pending';
CREATE INDEX payment_reminders_updated_at_idx ON payment_reminders (updated_at) WHERE status IN ('failed', 'unknown');
CREATE INDEX payment_reminders_claimed_at_idx ON payment_reminders (claimed_at) WHERE status = 'sending';

CREATE TRIGGER payment_reminders_set_updated_at
    BEFORE UPDATE ON payment_reminders
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION set_updated_at();

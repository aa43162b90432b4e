-- What the assistant's answers for a business have cost on a day (UTC), in US dollars, with what is on its way.
CREATE TABLE assistant_usage (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    answers integer NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cost numeric(12, 6) NOT NULL DEFAULT 0,
    reserved numeric(12, 6) NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT assistant_usage_pkey PRIMARY KEY (tenant_id, day),
    CONSTRAINT assistant_usage_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT assistant_usage_counts_check CHECK (answers >= 0 AND input_tokens >= 0 AND output_tokens >= 0),
    CONSTRAINT assistant_usage_cost_check CHECK (cost >= 0 AND reserved >= 0)
);

CREATE TRIGGER assistant_usage_set_updated_at
    BEFORE UPDATE ON assistant_usage
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION set_updated_at();

-- fairlead: no-transaction
CREATE UNIQUE INDEX CONCURRENTLY bookings_tenant_id_reference_key ON bookings (tenant_id, reference);

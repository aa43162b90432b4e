-- fairlead: no-transaction
DROP INDEX CONCURRENTLY bookings_tenant_id_reference_key;

ALTER TABLE bookings ALTER COLUMN reference DROP NOT NULL;
ALTER TABLE bookings DROP CONSTRAINT bookings_reference_check;
ALTER TABLE bookings ADD CONSTRAINT bookings_reference_check
    CHECK (reference IS NOT NULL AND reference ~ '^[2-9A-HJ-NP-Z]{8}$') NOT VALID;

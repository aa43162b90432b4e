-- From now on every booking that is written has a reference; 014 looks at those that are there.
ALTER TABLE bookings ADD CONSTRAINT bookings_reference_check
    CHECK (reference IS NOT NULL AND reference ~ '^[2-9A-HJ-NP-Z]{8}$') NOT VALID;

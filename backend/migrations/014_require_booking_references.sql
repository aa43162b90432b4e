-- Reads the whole table while everybody goes on writing. NOT NULL then believes the constraint, and reads nothing.
ALTER TABLE bookings VALIDATE CONSTRAINT bookings_reference_check;
ALTER TABLE bookings ALTER COLUMN reference SET NOT NULL;

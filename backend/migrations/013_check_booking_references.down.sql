ALTER TABLE bookings DROP CONSTRAINT bookings_reference_check;

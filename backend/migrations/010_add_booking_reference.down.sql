-- fairlead: destructive because references are made up, and made anew by 011
ALTER TABLE bookings DROP COLUMN reference;
DROP FUNCTION make_booking_reference();

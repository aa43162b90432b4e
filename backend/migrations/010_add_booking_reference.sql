-- What a customer says on the telephone to name a booking: eight characters that nobody takes for one another.
-- The column is added empty and its default after it, so that the table, which is full, is not written anew.
CREATE FUNCTION make_booking_reference() RETURNS text
LANGUAGE sql VOLATILE
AS $$
    SELECT string_agg(substr('23456789ABCDEFGHJKLMNPQRSTUVWXYZ', get_byte(bytes, place) % 32 + 1, 1), '' ORDER BY place)
    FROM (SELECT uuid_send(gen_random_uuid()) AS bytes) AS random,
        unnest(ARRAY[0, 1, 2, 3, 4, 5, 14, 15]) AS place
$$;

ALTER TABLE bookings ADD COLUMN reference text;
ALTER TABLE bookings ALTER COLUMN reference SET DEFAULT make_booking_reference();

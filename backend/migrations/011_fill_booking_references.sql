-- fairlead: no-transaction
-- Gives the bookings of before 010 their reference, a thousand at a time in the order of their keys. Each batch is a
-- transaction of its own: nobody waits long for it, and when it is stopped the next run passes over what is done.
DO $$
DECLARE
    done uuid := '00000000-0000-0000-0000-000000000000';
    last uuid;
BEGIN
    LOOP
        SELECT id INTO last FROM bookings WHERE id > done ORDER BY id OFFSET 999 LIMIT 1;
        UPDATE bookings SET reference = make_booking_reference()
        WHERE id > done AND (last IS NULL OR id <= last) AND reference IS NULL;
        COMMIT;
        EXIT WHEN last IS NULL;
        done := last;
    END LOOP;
END;
$$;

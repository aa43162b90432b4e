DROP TABLE bookings;
DROP TYPE uuidrange;

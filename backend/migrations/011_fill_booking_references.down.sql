-- There is nothing to take back: a reference that is there is no matter before 011 either.
SELECT 1;

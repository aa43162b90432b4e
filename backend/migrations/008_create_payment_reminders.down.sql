DROP TABLE payment_reminders;

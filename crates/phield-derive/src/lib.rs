//! Keeps health data (PHI) unreadable outside the application.

-- Destinations that lay files out by their paths hold a content at several places, and move what a newer version replaces.

-- The receipt is about another place now: where its content went, or where it was proven instead. Such a receipt is history.
ALTER TABLE receipt ADD COLUMN moved_to BLOB;

-- Who counts on a place.
CREATE INDEX receipt_place ON receipt (destination, location) WHERE length(location) > 0;

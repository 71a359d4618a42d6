-- How many messages hold each term of the search index: what a query asks before it drops common words.
-- It names the index and holds nothing itself, so it stays true when the index is made anew.
CREATE VIRTUAL TABLE search_terms USING fts5vocab (search_index, row);

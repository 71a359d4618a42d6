-- A search asks for its user's entries by `user_key = ...`, so that of tables in parts one part is read. The planner is
-- told that all entries are that user's: the terms are, by their tags, and to read the index on users along with
-- theirs would cost all entries of the user for each term. The parts of a table are told one by one.
DO '
DECLARE part regclass;
BEGIN
    FOR part IN SELECT ''search_entries''::regclass UNION SELECT relid FROM pg_partition_tree(''search_entries'') LOOP
        EXECUTE ''ALTER TABLE '' || part || '' ALTER COLUMN user_key SET (n_distinct = 1)'';
        EXECUTE ''ALTER TABLE '' || part || '' ALTER COLUMN user_key SET STATISTICS 1'';
    END LOOP;
END';

-- What is known of files is known of a machine's files: several may read into one database for one user.
ALTER TABLE imports ADD COLUMN machine text NOT NULL DEFAULT '';
ALTER TABLE imports DROP CONSTRAINT imports_pkey;
ALTER TABLE imports ADD PRIMARY KEY (user_key, machine, path);
ALTER TABLE syncs ADD COLUMN machine text NOT NULL DEFAULT '';
ALTER TABLE syncs DROP CONSTRAINT syncs_pkey;
ALTER TABLE syncs ADD PRIMARY KEY (user_key, machine);

-- What a path held before: who asks for one path does not read those of every other file with the same content.
CREATE INDEX file_superseded ON file (directory, name) WHERE status = 'superseded';

-- What a path held before: who asks for one path does not read those of every other file with the same content, and who asks for a content
-- of it not all that the path ever held.
CREATE INDEX file_superseded ON file (directory, name, content) WHERE status = 'superseded';

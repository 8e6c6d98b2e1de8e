"""A snapshot: the files of a project at one moment, after ignore rules; its digest and its zip."""

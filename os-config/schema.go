package osconfig

import _ "embed" // for the schema

//go:embed schema.json
var schema string

// Schema returns the JSON schema (draft 2020-12) of configurations. It is
// generated from the types.
func Schema() []byte { return []byte(schema) }

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

// A Record is what lasts about one service.
type Record struct {
	// Stopped: it is not to run.
	Stopped bool `json:"stopped,omitempty"`
	// Image is the ID of the image that it runs from; empty for the shipped one.
	Image string `json:"image,omitempty"`
	// Previous is what Image was before the last upgrade, nil without one.
	Previous *string `json:"previous,omitempty"`
	// Engine is the number of a further user engine, from 1; 0 for a service
	// that is none.
	Engine int `json:"engine,omitempty"`
	// Events are the last ones, oldest first.
	Events []Event `json:"events,omitempty"`
}

// An Event is a change of a service's image, or what kept it from changing.
type Event struct {
	Time  time.Time `json:"time"`
	Verb  Verb      `json:"verb"`
	Image string    `json:"image,omitempty"`
	Error string    `json:"error,omitempty"`
}

// maxEvents is how many events of a service are kept.
const maxEvents = 20

// Add appends an event and forgets the oldest.
func (r *Record) Add(e Event) {
	r.Events = append(r.Events, e)
	r.Events = r.Events[max(0, len(r.Events)-maxEvents):]
}

// ConfiguredKey is what a Store has a service of the configuration under, which
// may have the name of an OS service.
func ConfiguredKey(service string) string { return "configured/" + service }

// A Store keeps the records of all services in a file. Only one process may
// change it.
type Store struct {
	file string

	mu      sync.Mutex
	records map[string]Record
}

// Open reads a store. A file that cannot be read is put aside, with an error
// that says where; the store is empty then, and can be used.
func Open(file string) (*Store, error) {
	records, err := Read(file)
	if err == nil {
		return &Store{file: file, records: records}, nil
	}
	aside := file + ".damaged"
	if renameErr := os.Rename(file, aside); renameErr != nil {
		err = errors.Join(err, renameErr)
	} else {
		err = fmt.Errorf("%w; it is %s now", err, aside)
	}
	return &Store{file: file, records: map[string]Record{}}, err
}

// Read returns the records in a file by service; none if there is no file.
func Read(file string) (map[string]Record, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Record{}, nil
	}
	if err != nil {
		return nil, err
	}
	records := make(map[string]Record)
	if err := json.Unmarshal(text, &records); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return records, nil
}

// Get returns the record of a service.
func (s *Store) Get(service string) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[service]
}

// All returns the records of all services.
func (s *Store) All() map[string]Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records)
}

// Engines returns the numbers of further user engines, by service.
func (s *Store) Engines() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Engines(s.records)
}

// Engines returns the numbers of further user engines in records, by service.
func Engines(records map[string]Record) map[string]int {
	engines := make(map[string]int)
	for service, r := range records {
		if r.Engine > 0 {
			engines[service] = r.Engine
		}
	}
	return engines
}

// Forget removes the record of a service, as Change changes one.
func (s *Store) Forget(service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := maps.Clone(s.records)
	delete(records, service)
	return s.write(service, records)
}

// Change changes the record of a service, on the disk before it returns. With
// an error nothing has changed.
func (s *Store) Change(service string, change func(*Record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[service]
	r.Events = slices.Clone(r.Events)
	change(&r)
	records := maps.Clone(s.records)
	records[service] = r
	return s.write(service, records)
}

// write makes records the store's, because of a service. The caller holds mu.
func (s *Store) write(service string, records map[string]Record) error {
	text, err := json.MarshalIndent(records, "", "  ")
	if err == nil {
		err = conffile.Write(s.file, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("record of service %s: %w", service, err)
	}
	s.records = records
	return nil
}

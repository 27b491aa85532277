package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
)

const recordHeader = 8 + 4 // revision, checksum

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (r store.Record, err error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	err = s.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(recordsBucket).Get([]byte(key))
		if v == nil {
			return store.ErrNotFound
		}
		r, err = s.decode(key, v)
		return err
	})
	if err != nil {
		return store.Record{}, fmt.Errorf("get record %q: %w", key, err)
	}
	return r, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, error) {
	var list []store.Record
	err := s.view(func(tx *bolt.Tx) error {
		c, p := tx.Bucket(recordsBucket).Cursor(), []byte(prefix)
		for k, v := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, v = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := s.decode(string(k), v)
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list records %q: %w", prefix, err)
	}
	return list, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	if err := store.CheckKey(key); err != nil {
		return 0, err
	}
	if len(value) > store.MaxRecordBytes {
		return 0, &store.SizeError{Key: key, Got: len(value), Max: store.MaxRecordBytes}
	}
	err = s.changes.do(ctx, len(value), func(tx *bolt.Tx) error {
		records := tx.Bucket(recordsBucket)
		if err := s.match(records, key, revision); err != nil {
			return err
		}
		// The bucket's sequence outlives every record, so no revision repeats.
		if next, err = records.NextSequence(); err != nil {
			return err
		}
		return records.Put([]byte(key), encode(value, next))
	})
	if err != nil {
		return 0, recordError("put", key, err)
	}
	return next, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	err := s.changes.do(ctx, 0, func(tx *bolt.Tx) error {
		records := tx.Bucket(recordsBucket)
		if err := s.match(records, key, revision); err != nil {
			return err
		}
		return records.Delete([]byte(key))
	})
	if err != nil {
		return recordError("delete", key, err)
	}
	return nil
}

// match refuses if the record at key is not at revision want.
func (s *Store) match(records *bolt.Bucket, key string, want uint64) error {
	var got uint64
	if v := records.Get([]byte(key)); v != nil {
		r, err := s.decode(key, v)
		if err != nil {
			return refusal{err}
		}
		got = r.Revision
	}
	if got != want {
		return refusal{&store.ConflictError{Key: key, Got: got, Want: want}}
	}
	return nil
}

func encode(value []byte, revision uint64) []byte {
	b := make([]byte, recordHeader, recordHeader+len(value))
	binary.BigEndian.PutUint64(b, revision)
	b = append(b, value...)
	binary.BigEndian.PutUint32(b[8:], recordSum(b))
	return b
}

// decode copies v, which bbolt owns, into a record.
func (s *Store) decode(key string, v []byte) (store.Record, error) {
	if len(v) < recordHeader || binary.BigEndian.Uint32(v[8:]) != recordSum(v) {
		return store.Record{}, s.corrupt(fmt.Sprintf("record %q", key), errors.New("its checksum does not match"))
	}
	return store.Record{
		Key: key, Value: append([]byte{}, v[recordHeader:]...), Revision: binary.BigEndian.Uint64(v),
	}, nil
}

// recordSum covers revision and value.
func recordSum(v []byte) uint32 {
	return crc32.Update(crc32.Checksum(v[:8], castagnoli), castagnoli, v[recordHeader:])
}

// recordError adds the place to an error that does not name it by itself.
func recordError(verb, key string, err error) error {
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return err
	}
	return fmt.Errorf("%s record %q: %w", verb, key, err)
}

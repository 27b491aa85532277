package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// slotBytes is the room of a slot and of the mark: a page, so that one write touches
// nothing else.
const slotBytes = 4096

// slotHead is what stands before a slot's body: checksum of the rest, sequence number,
// length of the body.
const slotHead = 4 + 8 + 4

// MaxSlotBody is the largest body that Slots keeps, in bytes.
const MaxSlotBody = slotBytes - slotHead

// Slots is a small file that is overwritten in place, for what changes all the time: a
// body in one of two slots in turn, and a mark, one number, that changes still more
// often. What was written outlives the end of the process however it ends, and, up to
// the newest Sync, a power cut: a write cut short spoils one slot, and the other holds.
// All methods but Close may be called by several goroutines, Write by one at a time.
//
// The file, little-endian: mark (checksum, number), and from byte 4096 on the slots
// (checksum, sequence number, length, body), 4096 bytes each.
type Slots struct {
	file *os.File
	seq  uint64
}

// OpenSlots opens or makes the file at path. It returns the newest body, nil if there is
// none, the mark, 0 if there is none, and what was found damaged, an ErrDamaged, although
// the rest is of use.
func OpenSlots(path string) (s *Slots, body []byte, mark int64, damage, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, 0, nil, err
	}
	all := make([]byte, 3*slotBytes)
	if _, err := io.ReadFull(f, all); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, 0, nil, errors.Join(fmt.Errorf("read %q: %w", path, err), f.Close())
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 && info.Size() < int64(len(all)) {
		damage = fmt.Errorf("read %q: %w: it is cut off after %d bytes", path, ErrDamaged, info.Size())
	}
	s = &Slots{file: f}
	for i := range 2 {
		b, seq, ok := readSlot(all[(1+i)*slotBytes : (2+i)*slotBytes])
		switch {
		case !ok:
			damage = fmt.Errorf("read %q: %w: slot %d", path, ErrDamaged, i)
		case seq > s.seq:
			s.seq, body = seq, b
		}
	}
	switch sum, number := binary.LittleEndian.Uint32(all), all[4:12]; {
	case sum == crc32.ChecksumIEEE(number):
		mark = int64(binary.LittleEndian.Uint64(number))
	case sum != 0 || binary.LittleEndian.Uint64(number) != 0:
		damage = fmt.Errorf("read %q: %w: mark", path, ErrDamaged)
	}
	// All its room is taken now, so that a disk that fills up later does not matter.
	if _, err := f.WriteAt(all, 0); err != nil {
		return nil, nil, 0, nil, errors.Join(fmt.Errorf("write %q: %w", path, err), f.Close())
	}
	return s, body, mark, damage, nil
}

// readSlot returns a slot's body; an empty slot is no damage.
func readSlot(slot []byte) (body []byte, seq uint64, ok bool) {
	seq, n := binary.LittleEndian.Uint64(slot[4:]), binary.LittleEndian.Uint32(slot[12:])
	if sum := binary.LittleEndian.Uint32(slot); sum == 0 && seq == 0 && n == 0 {
		return nil, 0, true
	} else if n > MaxSlotBody || seq > math.MaxInt64 || sum != crc32.ChecksumIEEE(slot[4:slotHead+n]) {
		return nil, 0, false
	}
	return slot[slotHead : slotHead+n], seq, true
}

// Write replaces the older body. It does not wait for the disk.
func (s *Slots) Write(body []byte) error {
	if len(body) > MaxSlotBody {
		return fmt.Errorf("write %q: %d bytes; it takes %d", s.file.Name(), len(body), MaxSlotBody)
	}
	slot := make([]byte, slotHead, slotHead+len(body))
	binary.LittleEndian.PutUint64(slot[4:], s.seq+1)
	binary.LittleEndian.PutUint32(slot[12:], uint32(len(body)))
	slot = append(slot, body...)
	binary.LittleEndian.PutUint32(slot, crc32.ChecksumIEEE(slot[4:]))
	if _, err := s.file.WriteAt(slot, slotBytes*int64(1+(s.seq+1)%2)); err != nil {
		return err
	}
	s.seq++
	return nil
}

// Mark replaces the mark. It does not wait for the disk.
func (s *Slots) Mark(n int64) error {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[4:], uint64(n))
	binary.LittleEndian.PutUint32(b[:], crc32.ChecksumIEEE(b[4:]))
	_, err := s.file.WriteAt(b[:], 0)
	return err
}

// Sync waits until what was written is on the disk.
func (s *Slots) Sync() error { return s.file.Sync() }

// Close syncs and closes the file.
func (s *Slots) Close() error { return errors.Join(s.file.Sync(), s.file.Close()) }

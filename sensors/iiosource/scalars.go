package iiosource

import (
	"errors"
	"fmt"
	"io/fs"

	"periph.io/x/conn/v3"

	"github.com/millwright-iot/millwright/sensors/chips"
)

// scalars reads values from sysfs. It implements chips.Driver.
type scalars struct {
	tree     tree
	elements []element
	plan     chips.Plan
	convert  []conversion // zero scale: the element is processed by the kernel
}

func (s *scalars) Plan() chips.Plan { return s.plan }

func (s *scalars) Start(conn.Conn) error {
	if err := s.tree.find(); err != nil {
		return err
	}
	s.convert = s.convert[:0]
	for _, e := range s.elements {
		if _, err := s.tree.read(e.name + "_input"); err == nil {
			s.convert = append(s.convert, conversion{})
			continue
		}
		if _, err := s.tree.read(e.name + "_raw"); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("find element %s: %s has neither %s_input nor %s_raw", e.name, s.tree.dir, e.name, e.name)
		}
		c, err := s.tree.conversion(e)
		if err != nil {
			return err
		}
		s.convert = append(s.convert, c)
	}
	return nil
}

func (s *scalars) Read(b *chips.Batch) error {
	for i, e := range s.elements {
		c := s.convert[i]
		file := e.name + "_raw"
		if c.scale == 0 {
			c, file = conversion{scale: e.kind.toBase}, e.name+"_input"
		}
		raw, err := s.tree.number(file)
		if err != nil {
			return fmt.Errorf("read %s: %w", s.tree.name, err)
		}
		b.Values[i] = append(b.Values[i], c.base(raw))
	}
	return nil
}

package job

import (
	"fmt"
	"slices"

	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/model"
)

func (s Spec) validateCompression(ps *problems) {
	for i, name := range s.Compression {
		path, method := fmt.Sprintf("compression[%d]", i), compress.Method(name)
		switch {
		case !slices.Contains(compress.Methods(), method):
			ps.add(path, "is %q; it must be one of %v", name, compress.Methods())
		case slices.Contains(s.Compression[:i], name):
			ps.add(path, "%q is listed twice", name)
		case model.LearningOf(s.Model.Kind) == model.Statistics && method != compress.Zstd:
			ps.add(path, "is %q, which rounds; the statistics of this model must stay exact: use %q", name, compress.Zstd)
		}
	}
}

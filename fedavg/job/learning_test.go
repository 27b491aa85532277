package job

import (
	"testing"

	"github.com/millwright-iot/millwright/fedavg/model"
)

func TestSpec_StrategyFollowsTheModel(t *testing.T) {
	for kind, want := range map[string]string{model.KindGaussian: NameSum, model.KindRidge: NameSum, model.KindAutoencoder: NameFedAvg, model.KindSoftmax: NameFedAvg} {
		if got := (Spec{Model: model.Spec{Kind: kind}}).WithDefaults().Strategy.Name; got != want {
			t.Errorf("%s: strategy %q, want %q", kind, got, want)
		}
	}
}

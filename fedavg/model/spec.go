package model

// Spec chooses a model kind and its settings. Settings of other kinds must be absent.
type Spec struct {
	Kind        string           `yaml:"kind" json:"kind"` // one of Kinds
	Gaussian    *GaussianSpec    `yaml:"gaussian,omitempty" json:"gaussian,omitempty"`
	Autoencoder *AutoencoderSpec `yaml:"autoencoder,omitempty" json:"autoencoder,omitempty"`
	Ridge       *RidgeSpec       `yaml:"ridge,omitempty" json:"ridge,omitempty"`
	MLP         *MLPSpec         `yaml:"mlp,omitempty" json:"mlp,omitempty"`
	Softmax     *SoftmaxSpec     `yaml:"softmax,omitempty" json:"softmax,omitempty"`
	RUL         *RULSpec         `yaml:"rul,omitempty" json:"rul,omitempty"`

	// Overlap is how many consecutive rows share samples because windows overlap;
	// 0 and 1 mean none. It is not a setting: job.Spec.Family derives it from
	// Window and Hop. The wander of a feature is judged in its light.
	Overlap int `yaml:"-" json:"-"`
}

// The model kinds.
const (
	KindGaussian    = "gaussian"
	KindAutoencoder = "autoencoder"
	KindRidge       = "ridge"
	KindMLP         = "mlp"
	KindSoftmax     = "softmax"
	KindRUL         = "rul"
)

// Kinds lists the model kinds.
func Kinds() []string {
	return []string{KindGaussian, KindAutoencoder, KindRidge, KindMLP, KindSoftmax, KindRUL}
}

// LearningOf says how updates of a kind merge; 0 is for a kind that does not exist.
func LearningOf(kind string) Learning {
	switch kind {
	case KindGaussian, KindRidge, KindRUL:
		return Statistics
	case KindAutoencoder, KindMLP, KindSoftmax:
		return Gradient
	}
	return 0
}

// GaussianSpec sets up the Mahalanobis detector learned from sums.
type GaussianSpec struct {
	// Shrinkage λ blends the covariance with its diagonal, (1−λ)S + λ·diag(S), 0 < λ ≤ 1. Default 0.1.
	Shrinkage float64 `yaml:"shrinkage" json:"shrinkage"`
	// MaxWander leaves out features whose healthy 30-row block means wander more
	// than so many standard errors, as the fleet's geometric mean. Default 5.
	MaxWander float64 `yaml:"max_wander" json:"max_wander"`
	// PriorRows n₀ is how many rows of its own a machine needs for its own
	// covariance to count as much as the fleet's: their blend is n/(n+n₀). Default 200.
	PriorRows float64 `yaml:"prior_rows" json:"prior_rows"`
}

// AutoencoderSpec sets up the dense autoencoder learned by gradient.
type AutoencoderSpec struct {
	Hidden       []int   `yaml:"hidden" json:"hidden"`               // widths of the encoder's layers, the last being the code; default [16, 4]
	Epochs       int     `yaml:"epochs" json:"epochs"`               // local passes a round; default 2
	BatchSize    int     `yaml:"batch_size" json:"batch_size"`       // default 32
	LearningRate float64 `yaml:"learning_rate" json:"learning_rate"` // default 0.01
	Proximal     float64 `yaml:"proximal" json:"proximal"`           // FedProx μ ≥ 0; default 0
}

// RidgeSpec sets up the regression on random features learned from sums. It needs
// targets (Set.Targets).
type RidgeSpec struct {
	Units   int     `yaml:"units" json:"units"`     // random ReLU units of a member; default 400
	Inputs  int     `yaml:"inputs" json:"inputs"`   // features each unit looks at; default 3
	Members int     `yaml:"members" json:"members"` // fits, each with units of its own, whose mean is the prediction; default 4
	Lambda  float64 `yaml:"lambda" json:"lambda"`   // λ > 0, in rows: how strongly coefficients are shrunk; default 10
	// Cap limits targets and predictions: how many cycles before the end the
	// machine counts as new. Default 125, which is customary for turbofans.
	Cap float64 `yaml:"cap" json:"cap"`
	// Forgetting γ weighs a row γ^(rows of the machine since), 0 < γ ≤ 1. Default 1: never.
	Forgetting float64 `yaml:"forgetting" json:"forgetting"`
	Seed       uint64  `yaml:"seed" json:"seed"` // of the random units, the same on every agent; default 1
}

// MLPSpec sets up the dense network learned by gradient towards targets
// (Set.Targets).
type MLPSpec struct {
	Hidden       []int   `yaml:"hidden" json:"hidden"`               // widths of the tanh layers; default [32, 16]
	Epochs       int     `yaml:"epochs" json:"epochs"`               // local passes a round; default 2
	BatchSize    int     `yaml:"batch_size" json:"batch_size"`       // default 32
	LearningRate float64 `yaml:"learning_rate" json:"learning_rate"` // default 0.003
	Proximal     float64 `yaml:"proximal" json:"proximal"`           // FedProx μ ≥ 0; default 0
	Cap          float64 `yaml:"cap" json:"cap"`                     // as RidgeSpec.Cap; default 125
}

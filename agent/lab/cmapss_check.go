package lab

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// checkSameKind refuses test data whose columns cannot be those of the training
// data: reordered ones, or another dataset's.
func checkSameKind(c *model.Conditions, engines []Engine) error {
	const far = 7.5 // standard deviations; values are limited to 8
	outside, rows := make([]int, len(CMAPSSSensors)), 0
	z := make([]float64, len(CMAPSSSensors))
	for _, e := range engines {
		for i, x := range e.Sensors {
			if _, _, err := c.Normalize(z, e.Settings[i], x); err != nil {
				return err
			}
			rows++
			for k, v := range z {
				if math.Abs(v) > far {
					outside[k]++
				}
			}
		}
	}
	for k, n := range outside {
		if 2*n > rows {
			return fmt.Errorf("sensor %d: %w; are columns reordered, or the files of different subsets?", CMAPSSSensors[k], errOtherData)
		}
	}
	return nil
}

// cmapssEnvelope are the settings an engine can fly at: altitude in thousand
// feet, Mach number, throttle resolver angle.
func cmapssEnvelope() [cmapssSettings]model.ConditionAxis {
	return [cmapssSettings]model.ConditionAxis{{From: -1, To: 50}, {From: -0.1, To: 1.2}, {From: 0, To: 120}}
}

// checkSettings refuses settings outside the envelope: columns are not what they
// should be.
func checkSettings(settings []float64) error {
	for i, a := range cmapssEnvelope() {
		if x := settings[i]; x < a.From || x > a.To {
			return fmt.Errorf("operating setting %d is %v, outside %v to %v; are the columns reordered, or is this another dataset?", i+1, x, a.From, a.To)
		}
	}
	return nil
}

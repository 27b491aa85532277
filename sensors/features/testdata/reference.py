# Prints the numbers that reference_test.go expects. Needs numpy and scipy; none of the
# formulas below is shared with the package under test.
import numpy as np
from scipy import signal, stats


def make(n, rate):
    """The same signal as signal() in bench_test.go: three sines and LCG noise."""
    state, noise = 12345, np.empty(n)
    for i in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        noise[i] = state / 2**32 - 0.5
    t = np.arange(n) / rate
    return (0.3 + 2 * np.sin(2 * np.pi * 24.5 * t) + 0.7 * np.sin(2 * np.pi * 98 * t + 1)
            + 0.2 * np.sin(2 * np.pi * 812.3 * t + 2) + 0.5 * noise)


def smooth(n):
    def ok(m):
        for p in (2, 3, 5):
            while m % p == 0:
                m //= p
        return m == 1
    return next(m for m in range(n, 0, -1) if ok(m))


def features(x, rate):
    a, rms, peak = np.abs(x), np.sqrt(np.mean(x**2)), np.max(np.abs(x))
    yield "mean", np.mean(x)
    yield "std", np.std(x)
    yield "rms", rms
    yield "peak", peak
    yield "peak_to_peak", np.ptp(x)
    yield "crest", peak / rms
    yield "kurtosis", stats.kurtosis(x, fisher=False)
    yield "skewness", stats.skew(x)
    yield "shape", rms / np.mean(a)
    yield "impulse", peak / np.mean(a)
    yield "clearance", peak / np.mean(np.sqrt(a))**2
    yield "min", np.min(x)
    yield "max", np.max(x)
    yield "last", x[-1]
    slope = stats.linregress(np.arange(len(x)) / rate, x).slope
    yield "slope", slope
    yield "slope_per_minute", 60 * slope

    y = x[:smooth(len(x))]
    f, density = signal.periodogram(y, rate, "hann", detrend="constant", scaling="density")
    f, p = f[1:], density[1:] * rate / len(y)
    band = lambda lo, hi: np.sqrt(p[(f >= lo - 1e-6) & (f <= hi + 1e-6)].sum())
    centroid = np.average(f, weights=p)
    yield "centroid", centroid
    yield "spread", np.sqrt(np.average((f - centroid)**2, weights=p))
    yield "entropy", stats.entropy(p / p.sum()) / np.log(len(p))
    k = np.argmax(p)
    side = 1 if p[k + 1] >= p[k - 1] else -1
    ratio = np.sqrt(p[k + side] / p[k])
    yield "dominant_frequency", f[k] + side * max(0, (2 * ratio - 1) / (ratio + 1)) * rate / len(y)
    near = np.argsort(np.abs(f - 98), kind="stable")[:5]
    yield "amp_98", np.sqrt(2 * p[near].sum())
    yield "band_10_100", np.log10(band(10, 100))
    yield "band_rms_500_1000", band(500, 1000)
    # Velocity by way of the complex spectrum: integrate, go back to time, undo the window's energy.
    w = signal.get_window("hann", len(y))
    X = np.fft.rfft((y - y.mean()) * w)
    g = np.fft.rfftfreq(len(y), 1 / rate)
    keep = (g >= 10 - 1e-6) & (g <= 1000 + 1e-6)
    V = np.zeros_like(X)
    V[keep] = X[keep] / (2j * np.pi * g[keep])
    v = np.fft.irfft(V, len(y))
    yield "velocity_rms", 1000 * np.sqrt(np.sum(v**2) / np.sum(w**2))


for n in (3200, 3001, 3375):
    print(f"\t{{{n}, []float64{{")
    for name, value in features(make(n, 3200.0), 3200.0):
        print(f"\t\t{value!r}, // {name}".replace("np.float64(", "").replace("), //", ", //"))
    print("\t}},")

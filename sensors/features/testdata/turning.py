# Prints the numbers that turning_test.go expects. Needs numpy. The envelope is computed at
# the full rate, with no decimation, so that it does not share that shortcut with the
# package under test.
import numpy as np

RATE, SHAFT, N = 12000.0, 29.95, 25000
BALLS, D, P = 9, 7.94, 39.04
R = D / P
BPFO, BPFI = BALLS / 2 * SHAFT * (1 - R), BALLS / 2 * SHAFT * (1 + R)
SPIN2, FTF = P / D * SHAFT * (1 - R * R), SHAFT / 2 * (1 - R)


def make(strike_hz, modulation_hz):
    """The same signal as struck() in turning_test.go."""
    state, noise = 12345, np.empty(N)
    for i in range(N):
        state = (state * 1664525 + 1013904223) % 2**32
        noise[i] = state / 2**32 - 0.5
    t = np.arange(N) / RATE
    tau = np.modf(t * strike_hz)[0] / strike_hz
    ring = np.exp(-900 * tau) * np.sin(2 * np.pi * 3100 * tau)
    load = 1 + 0.9 * np.cos(2 * np.pi * modulation_hz * t)
    return 2 * np.sin(2 * np.pi * SHAFT * t) + 2 * noise + 1.2 * load * ring


def smooth(n):
    for m in range(n, 0, -1):
        k = m
        for p in (2, 3, 5):
            while k % p == 0:
                k //= p
        if k == 1:
            return m


def analytic(X, n, k0, k1):
    Z = np.zeros(n, complex)
    Z[k0:k1] = X[k0:k1]
    return np.fft.ifft(Z)


def snrs(x):
    n = smooth(int(30 * RATE / SHAFT))
    df = RATE / n
    fams = [(BPFO, 0), (BPFI, SHAFT), (SPIN2, FTF), (FTF, 0)]
    top = max(4 * f * 1.015 + s for f, s in fams)
    lo, hi = 16 * SHAFT, 0.98 * RATE / 2
    count = min(max(int((hi - lo) / (1.5 * top)), 1), 4)
    edges = lo + (hi - lo) / count * np.arange(count + 1)
    spectra, kurt = np.zeros((count, n)), np.zeros(count)
    frames = len(x) // n
    for frame in x[:frames * n].reshape(frames, n):
        X = np.fft.fft(frame - frame.mean())
        p = np.abs(X[:n // 2 + 1])**2
        p[0] = p[1]
        around = np.pad(p, 50, "reflect")
        level = np.array([around[k:k + 101].mean() for k in range(len(p))])
        W = X[:n // 2 + 1] / np.sqrt(level)
        for b in range(count):
            a = analytic(W, n, int(np.ceil(edges[b] / df)), int(np.ceil(edges[b + 1] / df)))
            e = np.abs(a)**2
            # The kurtosis is defined at the band's own rate, wide enough for the lines.
            k0, k1 = int(np.ceil(edges[b] / df)), int(np.ceil(edges[b + 1] / df))
            least = max(k1 - k0 + int(np.ceil(top / df)) + 22, 2 * (int(np.ceil(top / df)) + 21) + 2)
            m = next(m for m in range(least, 2 * least) if smooth(m) == m)
            slow = np.abs(np.fft.ifft(np.r_[W[k0:k1], np.zeros(m - (k1 - k0))]))**2
            kurt[b] += np.mean(slow**2) / np.mean(slow)**2 - 2
            w = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
            spectra[b] += np.abs(np.fft.fft((e / e.mean() - 1) * w) / n)**2
    out = []
    for f, s in fams:
        dbs = []
        for q in spectra:
            def floor(h):
                k = int(np.round(h / df))
                return np.median(q[max(1, k - 20):k + 21])
            def peak(h):
                k = int(np.round(h / df))
                return q[k - 1:k + 2].max()
            best = -np.inf
            for slip in np.linspace(-0.015, 0.015, 13):
                v = 0
                for h in (1, 2, 3, 4):
                    lines = [0] if s == 0 else [0, -s, s]
                    v += np.log10(sum(peak(h * f * (1 + slip) + o) / floor(h * f + o) for o in lines))
                best = max(best, 10 * v / 4)
            dbs.append(best)
        out.append(np.mean(dbs))
    return out + [np.mean(kurt) / frames]


def kurtogram(x):
    n = smooth(min(len(x), 8192))
    X = np.fft.fft(x[:n] - x[:n].mean())
    best = (-9, 0)
    for parts in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
        width = (n // 2 - 1) // parts
        for i in range(parts):
            k0 = 1 + i * width
            # At the band's own rate, rounded up to a fast length, as in the filter bank.
            m = next(m for m in range(width, 2 * width) if smooth(m) == m)
            a = np.fft.ifft(np.r_[X[k0:k0 + width], np.zeros(m - width)])
            e = np.abs(a)**2
            best = max(best, (np.mean(e**2) / np.mean(e)**2 - 2, (k0 + width / 2) * RATE / n))
    return list(best)


for name, strike, modulation in (("outer", BPFO * 1.004, 0.0), ("inner", BPFI * 0.996, SHAFT), ("ball", SPIN2 * 1.002, FTF)):
    x = make(strike, modulation)
    print(f"\t{{{name!r}".replace("'", '"') + f", {strike!r}, {modulation!r}, []float64{{".replace("np.float64(", "").replace(")", ""))
    for label, v in zip(("bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr", "envelope_kurtosis", "kurtogram_max", "kurtogram_hz"), snrs(x) + kurtogram(x)):
        print(f"\t\t{float(v)!r}, // {label}")
    print("\t}},")

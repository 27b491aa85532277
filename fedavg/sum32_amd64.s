#include "textflag.h"

// 1.5·2^52 in every lane: added to an integer v, |v| < 2^51, it leaves v in the
// low bits of the float64, in two's complement.
DATA magic<>+0(SB)/8, $0x4338000000000000
GLOBL magic<>(SB), RODATA|NOPTR, $8

// Four times its bits, modulo 2^64.
DATA magicFour<>+0(SB)/8, $0x0ce0000000000000
GLOBL magicFour<>(SB), RODATA|NOPTR, $8

DATA magnitudeMask<>+0(SB)/4, $0x7fffffff
GLOBL magnitudeMask<>(SB), RODATA|NOPTR, $4

// addFourAVX2 adds 4 updates to 4 sums at a time: convert to float64, multiply,
// round toward zero, turn into integers, add. It returns the largest magnitude's bits.
//
// func addFourAVX2(acc *int64, n int, x *[4]*float32, w *[4]float64) uint32
TEXT ·addFourAVX2(SB), NOSPLIT, $0-36
	MOVQ acc+0(FP), DI
	MOVQ n+8(FP), CX
	MOVQ x+16(FP), SI
	MOVQ w+24(FP), DX
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	VBROADCASTSD 0(DX), Y0
	VBROADCASTSD 8(DX), Y1
	VBROADCASTSD 16(DX), Y2
	VBROADCASTSD 24(DX), Y3
	VBROADCASTSD magic<>(SB), Y4
	VPBROADCASTQ magicFour<>(SB), Y5
	VPXOR        X6, X6, X6             // largest magnitude
	VPBROADCASTD magnitudeMask<>(SB), X7
	XORQ         BX, BX                 // element
	SUBQ         $4, CX

loop:
	CMPQ BX, CX
	JGT  done

	// The processor reads ahead within a page only, and four streams of them keep it
	// waiting at every border. A prefetch beyond the end of an array does nothing.
	PREFETCHT0 1024(R8)(BX*4)
	PREFETCHT0 1024(R9)(BX*4)
	PREFETCHT0 1024(R10)(BX*4)
	PREFETCHT0 1024(R11)(BX*4)

	VCVTPS2PD (R8)(BX*4), Y8
	VCVTPS2PD (R9)(BX*4), Y9
	VCVTPS2PD (R10)(BX*4), Y10
	VCVTPS2PD (R11)(BX*4), Y11
	VPAND     (R8)(BX*4), X7, X12
	VPAND     (R9)(BX*4), X7, X13
	VPAND     (R10)(BX*4), X7, X14
	VPAND     (R11)(BX*4), X7, X15
	VPMAXUD   X12, X13, X12
	VPMAXUD   X14, X15, X14
	VPMAXUD   X12, X6, X6
	VPMAXUD   X14, X6, X6
	VMULPD    Y0, Y8, Y8
	VMULPD    Y1, Y9, Y9
	VMULPD    Y2, Y10, Y10
	VMULPD    Y3, Y11, Y11
	VROUNDPD  $11, Y8, Y8
	VROUNDPD  $11, Y9, Y9
	VROUNDPD  $11, Y10, Y10
	VROUNDPD  $11, Y11, Y11
	VADDPD    Y4, Y8, Y8
	VADDPD    Y4, Y9, Y9
	VADDPD    Y4, Y10, Y10
	VADDPD    Y4, Y11, Y11
	VPADDQ    Y8, Y9, Y8
	VPADDQ    Y10, Y11, Y10
	VPADDQ    Y8, Y10, Y8
	VPSUBQ    Y5, Y8, Y8
	VPADDQ    (DI)(BX*8), Y8, Y8
	VMOVDQU   Y8, (DI)(BX*8)
	ADDQ      $4, BX
	JMP       loop

done:
	VPSRLDQ $8, X6, X7
	VPMAXUD X7, X6, X6
	VPSRLDQ $4, X6, X7
	VPMAXUD X7, X6, X6
	VMOVD   X6, AX
	VZEROUPPER
	MOVL    AX, ret+32(FP)
	RET

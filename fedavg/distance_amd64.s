#include "textflag.h"

// squaresAVX2 writes Σ(a0−b0)², Σ(a0−b1)², Σ(a1−b0)², Σ(a1−b1)². Lane l sums the
// elements l, l+4, l+8 …; then (lane 0 + lane 1) + (lane 2 + lane 3). Multiplication and
// addition are not fused, so that every processor rounds alike.
//
// func squaresAVX2(a0, a1, b0, b1 *float64, n int, out *[4]float64)
TEXT ·squaresAVX2(SB), NOSPLIT, $0-48
	MOVQ   a0+0(FP), R8
	MOVQ   a1+8(FP), R9
	MOVQ   b0+16(FP), R10
	MOVQ   b1+24(FP), R11
	MOVQ   n+32(FP), CX
	MOVQ   out+40(FP), DI
	VXORPD X0, X0, X0
	VXORPD X1, X1, X1
	VXORPD X2, X2, X2
	VXORPD X3, X3, X3
	XORQ   BX, BX

loop:
	CMPQ    BX, CX
	JGE     done
	VMOVUPD (R8)(BX*8), Y4
	VMOVUPD (R9)(BX*8), Y5
	VMOVUPD (R10)(BX*8), Y6
	VMOVUPD (R11)(BX*8), Y7
	VSUBPD  Y6, Y4, Y8
	VSUBPD  Y7, Y4, Y9
	VSUBPD  Y6, Y5, Y10
	VSUBPD  Y7, Y5, Y11
	VMULPD  Y8, Y8, Y8
	VMULPD  Y9, Y9, Y9
	VMULPD  Y10, Y10, Y10
	VMULPD  Y11, Y11, Y11
	VADDPD  Y8, Y0, Y0
	VADDPD  Y9, Y1, Y1
	VADDPD  Y10, Y2, Y2
	VADDPD  Y11, Y3, Y3
	ADDQ    $4, BX
	JMP     loop

done:
	VHADDPD      Y1, Y0, Y0    // 0: l0+l1 of d00, l0+l1 of d01, l2+l3 of d00, l2+l3 of d01
	VHADDPD      Y3, Y2, Y2
	VEXTRACTF128 $1, Y0, X1
	VEXTRACTF128 $1, Y2, X3
	VADDPD       X1, X0, X0
	VADDPD       X3, X2, X2
	VMOVUPD      X0, (DI)
	VMOVUPD      X2, 16(DI)
	VZEROUPPER
	RET

#include "textflag.h"

DATA magnitudes<>+0(SB)/4, $0x7fffffff
GLOBL magnitudes<>(SB), RODATA|NOPTR, $4

// func exchangeAVX2(keys *int32, network *exchange, n int)
TEXT ·exchangeAVX2(SB), NOSPLIT, $0-24
	MOVQ keys+0(FP), DI
	MOVQ network+8(FP), SI
	MOVQ n+16(FP), CX
	TESTQ CX, CX
	JZ   done

loop:
	MOVL     (SI), AX
	MOVL     4(SI), BX
	ADDQ     DI, AX
	ADDQ     DI, BX
	VMOVDQU  (AX), Y0
	VMOVDQU  32(AX), Y1
	VMOVDQU  64(AX), Y2
	VMOVDQU  96(AX), Y3
	VMOVDQU  (BX), Y4
	VMOVDQU  32(BX), Y5
	VMOVDQU  64(BX), Y6
	VMOVDQU  96(BX), Y7
	VPMINSD  Y0, Y4, Y8
	VPMINSD  Y1, Y5, Y9
	VPMINSD  Y2, Y6, Y10
	VPMINSD  Y3, Y7, Y11
	VPMAXSD  Y0, Y4, Y4
	VPMAXSD  Y1, Y5, Y5
	VPMAXSD  Y2, Y6, Y6
	VPMAXSD  Y3, Y7, Y7
	VMOVDQU  Y8, (AX)
	VMOVDQU  Y9, 32(AX)
	VMOVDQU  Y10, 64(AX)
	VMOVDQU  Y11, 96(AX)
	VMOVDQU  Y4, (BX)
	VMOVDQU  Y5, 32(BX)
	VMOVDQU  Y6, 64(BX)
	VMOVDQU  Y7, 96(BX)
	ADDQ     $8, SI
	DECQ     CX
	JNZ      loop
	VZEROUPPER

done:
	RET

// func toKeysAVX2(dst *int32, x *float32, n int) uint32
//
// n is a multiple of 8.
TEXT ·toKeysAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	VPXOR        X6, X6, X6
	VPBROADCASTD magnitudes<>(SB), Y7
	XORQ         BX, BX

next:
	CMPQ    BX, CX
	JGE     end
	VMOVDQU (SI)(BX*4), Y0
	VPSRAD  $31, Y0, Y1
	VPSRLD  $1, Y1, Y1
	VPXOR   Y0, Y1, Y1
	VMOVDQU Y1, (DI)(BX*4)
	VPAND   Y0, Y7, Y0
	VPMAXUD Y0, Y6, Y6
	ADDQ    $8, BX
	JMP     next

end:
	VEXTRACTI128 $1, Y6, X7
	VPMAXUD X7, X6, X6
	VPSRLDQ $8, X6, X7
	VPMAXUD X7, X6, X6
	VPSRLDQ $4, X6, X7
	VPMAXUD X7, X6, X6
	VMOVD   X6, AX
	VZEROUPPER
	MOVL    AX, ret+24(FP)
	RET

// One row of 8 keys at offset to two registers of sums.
#define ADDKEYS(offset, low, high) \
	VMOVDQU      offset(SI), Y8; \
	VPSRAD       $31, Y8, Y9; \
	VPSRLD       $1, Y9, Y9; \
	VPXOR        Y8, Y9, Y8; \
	VEXTRACTI128 $1, Y8, X9; \
	VCVTPS2PD    X8, Y8; \
	VCVTPS2PD    X9, Y9; \
	VADDPD       Y8, low, low; \
	VADDPD       Y9, high, high

// func sumKeysAVX2(sums *[lanes]float64, keys *int32, rows int)
TEXT ·sumKeysAVX2(SB), NOSPLIT, $0-24
	MOVQ    sums+0(FP), DI
	MOVQ    keys+8(FP), SI
	MOVQ    rows+16(FP), CX
	VMOVUPD (DI), Y0
	VMOVUPD 32(DI), Y1
	VMOVUPD 64(DI), Y2
	VMOVUPD 96(DI), Y3
	VMOVUPD 128(DI), Y4
	VMOVUPD 160(DI), Y5
	VMOVUPD 192(DI), Y6
	VMOVUPD 224(DI), Y7

row:
	TESTQ CX, CX
	JZ    stop
	ADDKEYS(0, Y0, Y1)
	ADDKEYS(32, Y2, Y3)
	ADDKEYS(64, Y4, Y5)
	ADDKEYS(96, Y6, Y7)
	ADDQ  $128, SI
	DECQ  CX
	JMP   row

stop:
	VMOVUPD Y0, (DI)
	VMOVUPD Y1, 32(DI)
	VMOVUPD Y2, 64(DI)
	VMOVUPD Y3, 96(DI)
	VMOVUPD Y4, 128(DI)
	VMOVUPD Y5, 160(DI)
	VMOVUPD Y6, 192(DI)
	VMOVUPD Y7, 224(DI)
	VZEROUPPER
	RET

// func exchangeAVX512(keys *int32, network *exchange, n int)
TEXT ·exchangeAVX512(SB), NOSPLIT, $0-24
	MOVQ  keys+0(FP), DI
	MOVQ  network+8(FP), SI
	MOVQ  n+16(FP), CX
	TESTQ CX, CX
	JZ    over

pair:
	MOVL      (SI), AX
	MOVL      4(SI), BX
	ADDQ      DI, AX
	ADDQ      DI, BX
	VMOVDQU32 (AX), Z0
	VMOVDQU32 64(AX), Z1
	VMOVDQU32 (BX), Z2
	VMOVDQU32 64(BX), Z3
	VPMINSD   Z0, Z2, Z4
	VPMINSD   Z1, Z3, Z5
	VPMAXSD   Z0, Z2, Z2
	VPMAXSD   Z1, Z3, Z3
	VMOVDQU32 Z4, (AX)
	VMOVDQU32 Z5, 64(AX)
	VMOVDQU32 Z2, (BX)
	VMOVDQU32 Z3, 64(BX)
	ADDQ      $8, SI
	DECQ      CX
	JNZ       pair
	VZEROUPPER

over:
	RET

#include "textflag.h"

// func countBelowAVX2(keys *int32, rows int, bounds, counts *[32]int32)
//
// Counts, lane by lane, the keys that are less than the lane's bound.
TEXT ·countBelowAVX2(SB), NOSPLIT, $0-32
	MOVQ    keys+0(FP), DI
	MOVQ    rows+8(FP), CX
	MOVQ    bounds+16(FP), SI
	MOVQ    counts+24(FP), DX
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU 64(SI), Y2
	VMOVDQU 96(SI), Y3
	VPXOR   Y4, Y4, Y4
	VPXOR   Y5, Y5, Y5
	VPXOR   Y6, Y6, Y6
	VPXOR   Y7, Y7, Y7

row:
	VPCMPGTD (DI), Y0, Y8
	VPCMPGTD 32(DI), Y1, Y9
	VPCMPGTD 64(DI), Y2, Y10
	VPCMPGTD 96(DI), Y3, Y11
	VPSUBD   Y8, Y4, Y4
	VPSUBD   Y9, Y5, Y5
	VPSUBD   Y10, Y6, Y6
	VPSUBD   Y11, Y7, Y7
	ADDQ     $128, DI
	DECQ     CX
	JNZ      row
	VMOVDQU  Y4, (DX)
	VMOVDQU  Y5, 32(DX)
	VMOVDQU  Y6, 64(DX)
	VMOVDQU  Y7, 96(DX)
	VZEROUPPER
	RET

// func leastAboveAVX2(keys *int32, rows int, bounds, least *[32]int32)
//
// Finds, lane by lane, the least key above the lane's bound; the largest int32 if there is
// none.
TEXT ·leastAboveAVX2(SB), NOSPLIT, $0-32
	MOVQ     keys+0(FP), DI
	MOVQ     rows+8(FP), CX
	MOVQ     bounds+16(FP), SI
	MOVQ     least+24(FP), DX
	VMOVDQU  (SI), Y0
	VMOVDQU  32(SI), Y1
	VMOVDQU  64(SI), Y2
	VMOVDQU  96(SI), Y3
	VPCMPEQD Y12, Y12, Y12
	VPSRLD   $1, Y12, Y12
	VMOVDQA  Y12, Y4
	VMOVDQA  Y12, Y5
	VMOVDQA  Y12, Y6
	VMOVDQA  Y12, Y7

row:
	VMOVDQU   (DI), Y8
	VMOVDQU   32(DI), Y9
	VMOVDQU   64(DI), Y10
	VMOVDQU   96(DI), Y11
	VPCMPGTD  Y0, Y8, Y13
	VPBLENDVB Y13, Y8, Y12, Y8
	VPCMPGTD  Y1, Y9, Y14
	VPBLENDVB Y14, Y9, Y12, Y9
	VPCMPGTD  Y2, Y10, Y13
	VPBLENDVB Y13, Y10, Y12, Y10
	VPCMPGTD  Y3, Y11, Y14
	VPBLENDVB Y14, Y11, Y12, Y11
	VPMINSD   Y8, Y4, Y4
	VPMINSD   Y9, Y5, Y5
	VPMINSD   Y10, Y6, Y6
	VPMINSD   Y11, Y7, Y7
	ADDQ      $128, DI
	DECQ      CX
	JNZ       row
	VMOVDQU   Y4, (DX)
	VMOVDQU   Y5, 32(DX)
	VMOVDQU   Y6, 64(DX)
	VMOVDQU   Y7, 96(DX)
	VZEROUPPER
	RET

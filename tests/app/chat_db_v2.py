"""A chat.db of schema 2, as the program wrote it before profiles were kept (commit 862320d): one chat named "work" on
harness.CHATML, two questions, the second answered twice. zlib, then base 85."""
import base64
import zlib

TEXT = (
    'c-rmVeQX=$9S87x{O+XoH4TwrQP-2x;#e`kFLB<wuqLTXGlD}C2b#TL8T*pBvF}{_+&79?0-8E$n%Km&O>7ck3~AH;-ai{-o4P+HF$wJ-#z0I$'
    'dqDz;KPVkk?B(~|ogH85P#FA?h3`lA`0jb`?z!iAes@W(wyz5(W{a9EEvwaXPLmSCUV$;;h$IPu;HT6rZ1PcZn9IDJQL^#*F?o7bXwNSU=9y1?'
    'SJ>x%LJ%Y3AAG+Q?fyUePWgg+e4T&nyrtvG4zKq|-mvFc&!YPYPf!2=0QhuUcXYV}2M)0H`?TBxC7FIjuc(?PE6s&{)AOmxOiId3PR*vIW^sS9'
    'AkCyRsXJ5i(mnGtcTdhQNq41|B2t}JOwG<sN$I(alwO>jl@`-8Cl*uE^zqd6UHv6lS<zPeX{+!=Y&aa27BcfQ)0x;lS0HtO2}PwKpR1iN(Vq+1'
    'TwPQ3e71SiY^=H1y}Z{Q2#49aTW@%|wvt`eYT3N1EEiX-xh_i=Le`a`{xxd{&V;4=W-`a;7BkZP+<h}gPl@ipzyMqCv>d0P=4-_ZTeExHAIV%B'
    '+IG-t7xXa;pYyu|eSK_w#B!`+;atn2*!~!_Ce&Y(SBiy*q{-ECM5?SPYNYizt*gUZdRg$f1BVV>*UOxiYhCtl(?43Zediu1srfadf9p5xaR+*P'
    'JsYg`Fy_px``(%P%;My%c?@%%w74*nzEh&5WWOe#(;^Z@kIn*Zf;S@6%x0_V*<xWLR4h=Lrmo2fjr&BXt`zfXK^~4tRk^I5k+X$jE?+Hb#e7YQ'
    'hr(w&-GM-Wt>3M;s!+`>Yx;}N(p|l%pAK}UeLs1-q)h5$rg`d9v+C8FT5WFMSkXA`*M~dYf$na$v7jHB;zQFO%TcMIpSpNm71Dg_SZY3%o=z?B'
    'L88$QOLJ-IXlgb^`%X_TOivz7MfAV9uiIB28tYYRJyEDaW7p;d8nK=(V_sKae>Xd!U!Ocid{}7SX|{bPeKd7aYOLT5<89>2;f;MBz0Z#}Pc@o4'
    'EPXcm(|(jK<KJ#D_y*gJMkQCJlcceGM5?MKxy|U*w47G2wHvlJA=Xxl%9>uN*H71rnc=lGmh)9Pr^$tFPlRJ`SKv?&%jx6EdyuVH3VaW~?6nMP'
    '>ssDNy}xEYe2>e;e^@OUr<3t>v?iaf%SwK0)?+=*tSkGKTv?7#F1*oecL#cU*rT`Tb@HR}<h1N<j(NL?Nt272xtTO=es?OJ`KZ4iA`)+iG33T}'
    'G~h+8BwM3Efj&05IGd3|blI=Uxx!|M%XHnBnhk5cX!r_#qHG@>YOOiW+r=&9bOjFgZ1;Oh4^^DMx<if|ZW!aQuJz9{{fE&;uW@<sR_ZTy>m_2g'
    'zWqhAT=@`Vyj%%SB;uAK-t2fKr>$Dc8eI<CT!D$ec0JMCm5u2$ejo1<%$xX6`~?62000000Cp7qralvYF3<!300000002A6apn|e`zD_EJyv-`'
    '{OQw?gO`6X{>&Z8t($2@<-AnQDFwBByH>8;epb6}O_nRS=T~!Dxiq-4QeW=S@Bd#BXaWEL00000fd4~%_F3<Z{)xbN|NmD4O#lD@00000up=E|'
    'ULn#m;PN`1|EPWIuFFro{mwh-sc#<k{QHMz)#_SKk<?N_I$f7*T2WO5U)KZEpMUe$?5W7{`(NR&EB`Xy|9?}U2><{900000c7bkt#JlyM35@&y'
    'cLkaN00000003Z@aoc;m{38O!=l}mH&;$Sg000000K4q=pV9q4|4$8#_y4a7Gywnr00000z^>x8JH5vD|M~m>&W<+(@kRd~{;oY2X%PSb003Y&'
    'c*Om+%RhVi`~P|Ah)?jkm}ftgY%DqXQ?aJrb3|>C;kTZ9_O=W1gF#I$SAyfw!Du9?sg>+naD2#I)QiWGkzl!~7?~(#wDXl>K358k$M`N)xgzJZ'
    'Y(-XbCGEVmu#~H5StU3=JQN8oSLM@nS;?Q@+*Chgr7G8`Sl&`xljTBiJTV#{i;hO4V~Nqk$VfC6394tQzAqVV{>noS2A7LUv9_A6%DI|KYl0<N'
    'S<zO5yk50j(XyJlCMz{+!WeH=y(Skni$?XMFBeOtmQp%Kp7t!s{25}K+fui+Wi4B-={-!0^7_o3^+Fn_k@(O^Bv_F1YC+b^5`$y$#L(D7#=XZQ'
    'ojf4l{p(N6fE?N;AUD%&X9s0yB$-T(jSWQ;$;8mm*e4p4XuFv3?b-xov?VC<;lYvkSlk*EDx`+SEkQ{RCZb6*DB0jaBPN%kofH$Vr;pzs>Jhnm'
    'tv9Er+NxZYR7KV|mL3uHtzW*<Yeew2mIz*b?R{J1W*))_C1cvrQ5+qK#YSRdbcV*G$wcg9Tw00Phl^q&cEc!+4ki=B$%HkEqk}`yk)fC+iX(%G'
    'p=2_qNAdo@NJd<Kcafqfcs&C=id&urXgmdwzyI$PFAL%o@pbVP@da8000000004j;sMGFsHJ<I?Se|<Crj}(#w7GosTJPraYwzp#|9({v>*8_$'
    'Z~TwbA^-pY0002M$92%*@_epwuiC`~;V>0`ol>0A!<0@@iqJ;0jhoo*Hrh|=MM~>Vr^~Z`v2ma4;P<n%i%4_3x%@>+Cn>F%<*PK$P%4;Ze4A60'
    'zCfwn{>RMyc}kn}C1%vKWNy3JX1c-VZRYLc?fw%bp8t-pnby73<_$;V9{hva=``DVg3^qczt`MWrKFf`|6kk9KmRZ6#fb?3000000I-|+d=Cqq'
    'z5zje-8UdUBd&;D{#X6q_NRPr`+n@pV0-`o0002sQz_J87xX(K=Jg6*#+Z#UJ7W&UoQ$~`b2H{)j8+_c`m2Q5g*0t^z!n{DJa@uoW3~%&GiP`B'
    'd@l&M-uTD|pKMbhe{RBNg?f%E^dA!XZcy9656s%WOqp9fQS)2<jqm+aopx1`n_0V~+g}%?52`WzJ+sD>ys_8S$Sf5y$3FjM{q6B>n)moeZr(NF'
    'Gwti@dCaUUN|~<4z`cB>*Jg8w3qqjHE{DHi?sAbbNjn|B@l|^L$fZIvYiFLucj=pD4u@Y9-x6-xTI=W~v(__|iMQ6uES0kB>tqzv!;gO4MmcHc'
    'y-xmV|1L|zc!^j1tsq_#-xl8#|0cdFz9_yR{+@~e00000003aea5>l>=C$cFk1=x_GnX-Q8Z(D6vl}y;&FS#cOn?5r_?$p@|9=->5}&6<00000'
    '0002kSsaZIlh_5n&C&QENK58YbTjkvm0rp)N8^J5l(F;o|CxA2pa}o~000000Ctg1doMd9S8GL8ap3uX000000002HUkC300RR910001Xz5fCs'
    '`pkO'
)
DATA = zlib.decompress(base64.b85decode(TEXT))

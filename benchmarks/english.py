"""The commonest English words, and about how often each stands in a million words of prose.

Rough figures: what matters to a search is that a handful of words stand in almost every message, and some
hundreds in many.
"""

_TABLE = """
the 61800 of 29400 and 26800 to 25600 a 21600 in 18200 it 10900 is 10000 was 9200 i 8900 for 8400 that 7300 you 7000
he 6800 be 6600 with 6600 on 6500 by 5100 at 4800 have 4700 are 4700 not 4600 this 4600 but 4600 had 4500 they 4300
his 4300 from 4100 she 3800 which 3700 or 3700 we 3600 an 3400 there 3300 were 3200 as 3000 do 2800 been 2700
their 2600 has 2600 would 2600 what 2500 will 2500 if 2400 can 2400 all 2300 her 2200 one 2100 said 2100 so 1900
who 1900 up 1800 when 1700 some 1700 them 1700 could 1700 him 1600 into 1600 its 1600 then 1600 two 1500 out 1500
time 1500 my 1500 about 1500 did 1400 your 1400 now 1400 me 1400 no 1300 other 1300 only 1300 just 1200 more 1200
these 1200 also 1200 people 1200 any 1100 first 1100 very 1100 may 1100 new 1100 well 1000 should 1000 like 1000
than 1000 how 1000 get 990 way 960 our 950 made 940 got 930 after 930 think 910 between 900 many 900 see 890
those 870 know 860 good 800 back 800 through 790 year 780 years 770 over 760 where 750 down 740 much 730 still 720
even 710 own 700 before 690 go 690 make 680 must 670 being 660 too 650 us 640 here 640 because 630 such 620 does 610
last 600 take 590 most 580 same 570 while 560 part 550 both 540 work 540 under 530 might 530 use 520 say 520
three 510 come 510 another 500 against 490 day 490 every 480 though 480 set 470 going 470 each 460 put 460
number 450 never 450 without 440 used 440 within 430 house 430 long 420 during 420 off 410 found 410 place 400
point 400 case 390 need 240 little 380 again 380 great 380 since 370 world 370 upon 360 system 360 small 350 end 350
right 350 give 340 old 340 want 340 however 330 different 330 why 330 fact 320 left 320 things 320 line 180 find 310
next 310 men 300 around 300 look 300 group 300 always 290 away 290 given 290 until 290 problem 280 form 280
second 280 four 280 few 270 order 270 further 270 called 270 once 270 name 180 side 260 often 260 less 260
almost 260 tell 250 example 250 yet 250 area 250 course 250 data 250 keep 240 head 240 possible 240 thing 240
later 240 able 230 having 230 report 230 seen 230 using 230 local 230 best 210 taken 220 state 220 something 220
information 220 large 220 high 210 together 210 following 210 five 210 whether 210 far 210 important 200 done 200
show 200 change 200 enough 200 help 200 week 200 started 200 full 190 open 190 test 190 call 190 already 190
least 190 certain 180 several 180 early 180 word 180 looking 180 likely 180 nothing 180 result 170 question 170
times 170 level 170 half 170 today 160 near 170 run 170 write 160 read 160 particular 160 really 160 known 160
better 160 start 160 value 150 others 150 quite 150 asked 150 top 150 kind 150 works 150 days 150 perhaps 150
real 140 clear 140 reason 140 along 140 idea 140 above 110 common 140 single 140 view 140 type 140 list 130 six 130
short 130 rather 130 note 130 table 130 either 130 toward 130 turn 130 check 130 true 130 cannot 120 page 120
main 120 error 120 file 120 body 120 step 120 needs 120 follow 120 simple 120 wrong 110 move 110 below 110 key 110
path 100 version 100 code 100 missing 90 fails 80 fix 80 please 80 sure 80 thanks 70
"""

_WORDS = _TABLE.split()
PER_MILLION: dict[str, int] = dict(zip(_WORDS[::2], map(int, _WORDS[1::2]), strict=True))

STOP_WORDS = frozenset(word for word, often in PER_MILLION.items() if often >= 450)
"""What says nothing about a subject."""

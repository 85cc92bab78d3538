# ruff: noqa: E501 - the strings are as long as the branches of the hash need
import numpy as np
import pytest

from lamina.core.fingerprint import (
    concatenate_fingerprints,
    cross_fingerprints,
    fingerprint64,
    siphash,
)

# Fingerprint64 as TensorFlow 2.15 computes it, one string for each branch and border of lengths.
FINGERPRINTS = [
    (b"", 11160318154034397263),
    (b"a", 12917804110809363939),
    (b"ab", 12289600257749001502),
    (b"abc", 2640714258260161385),
    (b"Y\\sP", 11825534635579389537),
    (b'|=k-H#"', 7534101729194985707),
    (b"#se!Pw;V", 8322526862850771752),
    (b"hello world", 6381520714923946011),
    (b"LiMZBtfm} Q~a0bg", 18379347122195930961),
    (b":V']Nhf9`T^MUL de", 372010351013082382),
    (b"Br{EZyI_\\.#GQKU8A-@}a:m", 13233905642408182509),
    (b'D"49Ih1KV;Bv,PfLwd^d>(|%*155d;BJ', 7769460980997127375),
    (b"l`@OKK.E>m{^1jf-I%T)P20K.nkP)if<h", 7311240512642697281),
    (b"eEf@{]H,:sH%#!E|lHYRHS((HlZ.@;oex\\tMA7e:G9?N*C+", 11005229545652685554),
    (b"CRhS6n+=^ 6cH`sXwq}<>H_w]<{TKgn}sCr<&)arO4a:GFxFfO5yy~[l*/maiP63", 1663901961541797595),
    (b'@V;h|&_wR{qLQa5e}%c+@p,B~*1ntwy*X>PWR5IX0o^;/WldT/tEC?Pg 8cXj"#pm', 14823398526463719311),
    (b"?A:6D2e9BGj@wY5eM^U/:iQ:D-#/h!eEv|s1)`OiGW`vMcI /X{YLGeSK}wi_.rPP:", 16929983211360577367),
    (
        b"\x9e\x1d8\x889\\\xe7~\xef\xdc\x1bH\xfc\xb8\x95\xc0-\xdfBw\xdb\xf9 \xb9^\x1fha\t\xb1yz\xd2\xd4Tx\x00p\x1dO.\x0cH\x88u\xb8\xaaF0\x82\xd3\xb6\x15\x1f\xea\x13\xa1\x9f\x99\xc7\x9d\xc5\xf7\x96=\x056\xd9%j?\x04}\xf0$",
        15785129517603838413,
    ),
    (
        b"\xc8\x89\x04\x91L=\xdc\x90\x9a\xd6\x1fL1T\xf9\xdd8\x1d\xb7\xa2\x9d\x12\x9c\xe7\x10\xb0\x91l\x86\x8cV\x92\xad-\x12AC\xc4\xa5\xad\xf1U\x95\r\x87\t\x0b\xd7\xed\x0c\xc76?\x08\xc4-\xffm\xb5\x10\xd1\xf1\xa3`\x04A\xf1\xf1\x80\xdd3\xd5\xe7\x97/\x1a\xd8N",
        5798993758383656534,
    ),
    (
        b"O\x91<\xa2r\xae\xa0d>\xd4l\xd7D-\xc6\x0e\xc5G\xc9\xb1\xcbJ/vf\xf9\xf2\xc1\xa2\x81\x04\x85\x0c\xc3\xc9JW\x842\xd0:\xf4\xce\x1b\xf9)(q\xac\xc5\xaf\xb6\x80{\xd1Fq\xcd\x17~`K\xad_7j\xd7\x1a\xaa\xb9\xb2\xdft\xb3\xc2$s\xefA",
        11180936069311660260,
    ),
    (
        b"R\xe9\x0c\xa7\x96\x9eN\xe7\x1a\x16\x93Q\x0c\xa1\x0cK\x816w\x83\xfd\xffb'C\x92\x0fxPY|\xeb7\x01d\xbbW\x8a0)\x99v\xc0\x98E\x9aG\x98=\x993j\xe1\xcc2\x0f\xca\xf4\x03\x96\xf0\xf0\xbc\\k\xf4fsF\xdde\xba\xfbt\x18}:\xb9\"\x15l\xdd\xa9\xd0\xe6\xe2",
        7684851651885324353,
    ),
    (
        b"\xba_w\x16\x95\xe3\xe8\x90}\x05\x9b\xf0Led\\\x9c$\x83V\xc8\x9a\\\xe8\xcb/\xb6\xb6v\x01T\xe8@\x90\xc5L\xac\xaf\x80\x01I`\x83m\x03\x1d\x12\xeb\x91q8'Lg[\x0f\xdfPW\xe1\xa4\x1a\xe4\xb7\x92A\x1a|:\xe7\xfbu\xa29\x9cM\x88\xd6\x87:\t\x02\xbd^\x1d\xa7Q\x15\x11",
        9926208726660081399,
    ),
    (
        b'g Cql|~}a9[lbT{Gy5Youc9Nc vQjVSKoj}y(_?qsEp"T|p3qRB6)m!LAzTweF3[A^5[a%Ba,kV(M(tX"5`z4x+SqxCmF:c',
        12837391456165037947,
    ),
    (
        b":>JB()ybtO[ag~&5Fs~{gBMn~=RgS6]AnJ{<Anz?t#oSHW?B8)p}5jXj}2mAZc411{XNGS>.{:{wG(-=RI_,7%'l\";w$_zc|",
        9199112660059962914,
    ),
    (
        b"nXKtC/nx6,<S=_YP5=>D[fjQ;Y{AJ_k.;*%! ]HQjD9S4r3#!Q2ue'hP@0*[sF!$d'c0%C/W+8#_q0Cw8tYQJpBArq??'kk6L",
        14840579159890814126,
    ),
    (
        b"Vmygqb'MfTd9{dVt({Bn|)@6,3':V%&q+a\\`O,H%0d$Xu0RzY#~cB+@I*F$Q'}AH~0AP.vF,V?`g:JKaRj]-0sYcg|jybd#E49OQbI,TL0i(%FsdHUFHMBIb`!c/3H}",
        2894575840490954916,
    ),
    (
        b"IIi(YC]ZN~P*j'1&c^i@?yiKNrOSG[lKd`5#2@w<h1.7T}o&,ewB{-:A(picr*);r6aW\"kO^zD<9l_>VYvNe8]|)@T9!dPa^)SnajjV%MZ 8Fyxr e/FaHerifDcTebT",
        14089555922830328579,
    ),
    (
        b'mpjGYF0`Xk1f4@q!V~th$OUSDtu"++ QB[BOq]KQZ.]M2U2"6AO0kDTAaD~UxCWJ^;{^S{V+(0:3=}#-@3],Ss|7 +Vn&f;dVL&s-~fvUu~/AwC6]z&;vr+Q/uYEwa_R.',
        17645022625212566464,
    ),
]
# Of the reference implementation of SipHash-2-4: key 00..0f, message 00..(n - 1).
SIPHASHES = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
    63: 0x958A324CEB064572,
}


def test_fingerprints_of_many_lengths_at_once():
    assert fingerprint64([s for s, _ in FINGERPRINTS]).tolist() == [v for _, v in FINGERPRINTS]


@pytest.mark.parametrize("string, value", FINGERPRINTS, ids=lambda v: str(len(v)) if isinstance(v, bytes) else "")
def test_fingerprint_of_one(string, value):
    assert int(fingerprint64(string)) == value


@pytest.mark.parametrize("kind", ["U", "S", "O", "bytes"])
def test_all_forms_of_strings_hash_alike(kind):
    words = ["", "a", "red green", "x" * 40, "y" * 70, "grün", "\u6771\u4eac"]
    expected = [int(fingerprint64(w.encode())) for w in words]
    given = {
        "U": np.array(words),
        "S": np.array([w.encode() for w in words]),
        "O": np.array(words, object),
        "bytes": [w.encode() for w in words],
    }[kind]
    assert fingerprint64(given).tolist() == expected


def test_integers_hash_as_decimals_and_shapes_are_kept():
    numbers = np.array([[1, -7], [2**62, -(2**63)]])
    assert np.array_equal(fingerprint64(numbers), fingerprint64(numbers.astype(str)))
    assert fingerprint64(numbers).shape == (2, 2)
    assert fingerprint64(np.zeros((0, 3), "U4")).shape == (0, 3)


def test_zero_bytes_count():
    assert int(fingerprint64(b"\0")) != int(fingerprint64(b""))
    assert int(fingerprint64([b"\0", b"a"])[0]) == 13718060045003475796


def test_siphash_against_its_reference_values():
    key = tuple(int.from_bytes(bytes(range(i, i + 8)), "little") for i in (0, 8))
    messages = [bytes(range(n)) for n in SIPHASHES]
    assert siphash(messages, key).tolist() == list(SIPHASHES.values())
    assert int(siphash(messages[3], key)) == SIPHASHES[15]


def test_crosses_are_chains_of_pairs():
    letters, numbers = np.array(["A", "B"]), np.array([101, -1])
    pair = concatenate_fingerprints(concatenate_fingerprints(42, fingerprint64(letters)), numbers.astype(np.uint64))
    assert np.array_equal(cross_fingerprints([letters, numbers], key=42), pair)
    assert cross_fingerprints([letters[:, None], numbers[None]]).shape == (2, 2)


def test_other_values_are_refused():
    with pytest.raises(TypeError, match="strings or integers"):
        fingerprint64(np.array([1.5]))
    with pytest.raises(TypeError, match="strings or integers"):
        fingerprint64(np.array([None], object))

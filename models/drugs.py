"""Drugs that rules read, and the names under which they are ordered.

The contract asks for generic names; senders also send salts, forms and strengths. A name is folded (case, spaces,
strength, form) before the look-up. One name may stand for several drugs: calcium citrate brings calcium and citrate.
Names that no rule reads are listed too, so that only a name which nobody knows is reported.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final


class Drug(StrEnum):
    """What a medicine brings, as far as rules read it."""

    MAGNESIUM = "magnesium"
    #: Replacement. Calcium salts that bind phosphate are taken with every meal and are `CALCIUM_BINDER`.
    CALCIUM = "calcium"
    CALCIUM_BINDER = "calcium_binder"
    POTASSIUM = "potassium"
    ALUMINUM = "aluminum"
    CITRATE = "citrate"
    DEFEROXAMINE = "deferoxamine"
    CONTRAST = "contrast"
    BACLOFEN = "baclofen"
    MIDODRINE = "midodrine"
    VITAMIN_E = "vitamin_e"
    HYPERTONIC_SALINE = "hypertonic_saline"
    DIGOXIN = "digoxin"


_D = Drug
_NAMES: Final[dict[frozenset[Drug], str]] = {
    frozenset({_D.MAGNESIUM}): (
        "magnesium, magnesium sulfate, magnesium sulphate, magnesium oxide, magnesium chloride, magnesium carbonate, "
        "magnesium hydroxide, magnesium gluconate, magnesium aspartate, magnesium lactate, magnesium glycinate"
    ),
    frozenset({_D.MAGNESIUM, _D.CITRATE}): "magnesium citrate",
    frozenset({_D.CALCIUM}): (
        "calcium, calcium gluconate, calcium chloride, calcium lactate, calcium gluceptate, calcium glubionate"
    ),
    frozenset({_D.CALCIUM, _D.CITRATE}): "calcium citrate",
    frozenset({_D.CALCIUM_BINDER}): "calcium carbonate, calcium acetate",
    frozenset({_D.CALCIUM_BINDER, _D.MAGNESIUM}): "calcium acetate magnesium carbonate, calcium magnesium acetate",
    frozenset({_D.POTASSIUM}): (
        "potassium, potassium chloride, potassium phosphate, potassium bicarbonate, potassium gluconate, "
        "potassium acetate, kcl"
    ),
    frozenset({_D.POTASSIUM, _D.CITRATE}): "potassium citrate, potassium sodium citrate",
    frozenset({_D.ALUMINUM}): (
        "aluminum, aluminium, aluminum hydroxide, aluminium hydroxide, aluminum carbonate, aluminium carbonate, "
        "aluminum phosphate, aluminium phosphate, algeldrate, sucralfate"
    ),
    frozenset({_D.ALUMINUM, _D.MAGNESIUM}): (
        "magaldrate, almagate, hydrotalcite, co-magaldrox, aluminum hydroxide magnesium hydroxide, "
        "aluminium hydroxide magnesium hydroxide"
    ),
    frozenset({_D.CITRATE}): "citrate, citric acid, sodium citrate, trisodium citrate, citric acid sodium citrate",
    frozenset({_D.DEFEROXAMINE}): "deferoxamine, desferrioxamine, desferal, dfo",
    frozenset({_D.CONTRAST}): (
        "gadolinium, gadobutrol, gadoterate, gadoterate meglumine, gadoteric acid, gadoteridol, gadobenate, "
        "gadodiamide, gadopentetate, gadopiclenol, gadoxetate, iohexol, iodixanol, iopamidol, iopromide, iomeprol, "
        "ioversol, iobitridol, iodinated contrast, contrast"
    ),
    frozenset({_D.BACLOFEN}): "baclofen, arbaclofen, lioresal, baclofene, baclofeno",
    frozenset({_D.MIDODRINE}): "midodrine, midodrin, gutron, proamatine",
    frozenset({_D.VITAMIN_E}): (
        "vitamin e, vit e, tocopherol, alpha tocopherol, alpha tocopheryl acetate, tocopheryl acetate, "
        "tocofersolan, dl alpha tocopherol, d alpha tocopherol, all rac alpha tocopheryl acetate"
    ),
    frozenset({_D.HYPERTONIC_SALINE}): (
        "hypertonic saline, hypertonic sodium chloride, saline hypertonic, sodium chloride hypertonic"
    ),
    frozenset({_D.DIGOXIN}): "digoxin, digitoxin, metildigoxin",
    # Usual in a dialysis unit, read by no rule.
    frozenset(): (
        "heparin, enoxaparin, dalteparin, tinzaparin, nadroparin, argatroban, alteplase, taurolidine, saline, "
        "sodium chloride, glucose, dextrose, albumin, mannitol, epoetin, epoetin alfa, epoetin beta, darbepoetin, "
        "darbepoetin alfa, methoxy polyethylene glycol epoetin beta, iron, iron sucrose, ferric carboxymaltose, "
        "ferric gluconate, ferric citrate, sucroferric oxyhydroxide, sevelamer, sevelamer carbonate, lanthanum, "
        "lanthanum carbonate, tenapanor, calcitriol, alfacalcidol, paricalcitol, colecalciferol, cholecalciferol, "
        "ergocalciferol, vitamin d, cinacalcet, etelcalcetide, levocarnitine, folic acid, cyanocobalamin, vitamin b, "
        "vitamin c, ascorbic acid, sodium bicarbonate, patiromer, sodium zirconium cyclosilicate, "
        "sodium polystyrene sulfonate, furosemide, torasemide, bumetanide, amlodipine, nifedipine, lisinopril, "
        "ramipril, enalapril, losartan, valsartan, candesartan, bisoprolol, metoprolol, carvedilol, clonidine, "
        "doxazosin, hydralazine, spironolactone, acetylsalicylic acid, aspirin, clopidogrel, warfarin, apixaban, "
        "rivaroxaban, atorvastatin, simvastatin, rosuvastatin, insulin, insulin glargine, linagliptin, sitagliptin, "
        "metformin, amiodarone, paracetamol, acetaminophen, ibuprofen, tramadol, oxycodone, morphine, hydromorphone, "
        "fentanyl, gabapentin, pregabalin, quinine, diazepam, lorazepam, levetiracetam, phenytoin, valproate, "
        "sertraline, citalopram, omeprazole, pantoprazole, esomeprazole, famotidine, ondansetron, metoclopramide, "
        "lactulose, macrogol, vancomycin, cefazolin, ceftazidime, gentamicin, meropenem, prednisolone, prednisone, "
        "tacrolimus, mycophenolate, levothyroxine, allopurinol, febuxostat, colchicine, difelikefalin, "
        "hepatitis b vaccine, oxygen"
    ),
}
_BY_NAME: Final = {name.replace("-", " "): drugs for drugs, names in _NAMES.items() for name in names.split(", ")}
_UNITS: Final = r"(?:%|mg|g|mcg|µg|ug|ml|iu|ie|units?|meq|mmol)"
_STRENGTH: Final = re.compile(rf"\b\d[\d.,]*\s*{_UNITS}?(?:\s*/\s*\d*\s*ml)?(?=\s|$)")
#: Words of a name that say how the drug is given, not which one it is.
_FORMS: Final = frozenset(
    """
    tablet tablets tab tabs capsule capsules cap caps solution injection inj infusion suspension syrup granules powder
    drops ampoule vial oral po iv im sc er xr sr mr dr ec hcl hydrochloride dihydrate hexahydrate heptahydrate
    monohydrate in and with
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)
_SALT: Final = r"(?:sodium chloride|saline|nacl)"
_SALINE: Final = re.compile(rf"{_SALT}\D*(\d+(?:[.,]\d+)?)\s*%|(\d+(?:[.,]\d+)?)\s*%.*{_SALT}")
#: Sodium chloride of at least this strength (%) is hypertonic as units use it; isotonic is 0.9.
_HYPERTONIC_PERCENT: Final = 3.0


@lru_cache(maxsize=4096)
def drugs_of(name: str) -> frozenset[Drug] | None:
    """Return what a medicine of some name brings; empty if no rule reads it, None if the name is not known."""
    folded = " ".join(name.casefold().split())
    if (strength := _SALINE.search(folded)) is not None:
        percent = float((strength[1] or strength[2]).replace(",", "."))
        return frozenset({Drug.HYPERTONIC_SALINE} if percent >= _HYPERTONIC_PERCENT else ())
    if folded in _BY_NAME:
        return _BY_NAME[folded]
    words = re.sub(r"[^\w%-]+", " ", _STRENGTH.sub(" ", folded)).replace("_", " ").replace("-", " ").split()
    bare = " ".join(word for word in words if word not in _FORMS)
    return _BY_NAME.get(bare, _BY_NAME.get(" ".join(words)))

"""What a page says, in English and in French."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")

WORDS: dict[str, tuple[str, str]] = {
    "aerial": ("Aerial picture", "Photo aérienne"),
    "all": ("All", "Toutes"),
    "GB": ("GB", "Go"),
    "MB": ("MB", "Mo"),
    "area": ("Area (ha)", "Surface (ha)"),
    "areal": ("A hectare on the ground measures in the map", "Un hectare au sol mesure dans la carte"),
    "bands": ("bands", "bandes"),
    "blocks": ("Blocks", "Blocs"),
    "card": ("Model card", "Fiche du modèle"),
    "card_sha256": ("sha256 of the card", "sha256 de la fiche"),
    "class": ("Class", "Classe"),
    "classes": ("Land cover", "Occupation du sol"),
    "computed": ("Computing time", "Temps de calcul"),
    "confidence": ("Confidence", "Confiance"),
    "confidence_help": (
        "How sure the model is of the class shown. Low values deserve a look on the ground.",
        "Degré de certitude du modèle pour la classe affichée. Les valeurs faibles méritent une vérification.",
    ),
    "cost": ("Cost of the run", "Coût du calcul"),
    "done": ("done", "terminés"),
    "outside": ("outside the area", "hors emprise"),
    "no_input": ("without imagery", "sans image"),
    "pending": ("to be done", "à faire"),
    "read_failed": ("reading failed", "lecture en échec"),
    "model_failed": ("model failed", "modèle en échec"),
    "failed": ("failed", "en échec"),
    "worker_died": ("worker died", "processus perdu"),
    "damaged": ("damaged", "endommagés"),
    "elapsed": ("Time", "Durée"),
    "energy": ("Energy", "Énergie"),
    "files": ("files", "fichiers"),
    "fingerprint": ("Fingerprint of the map", "Empreinte de la carte"),
    "full_map": ("Whole map", "Toute la carte"),
    "hectares": ("Areas by class", "Surfaces par classe"),
    "hectares_help": (
        "Counted on every pixel of the map at full resolution. Select a column heading to sort.",
        "Comptées sur chaque pixel de la carte, en pleine résolution. Un en-tête de colonne trie le tableau.",
    ),
    "incomplete": (
        "This map is not complete: what is not mapped yet is left blank.",
        "Cette carte n’est pas complète : ce qui n’est pas encore cartographié reste vide.",
    ),
    "language": ("Language", "Langue"),
    "layer": ("Layer", "Couche"),
    "layers": ("Layers and legend", "Couches et légende"),
    "legend": ("Classes", "Classes"),
    "license": ("Licence", "Licence"),
    "made_with": ("Made with Landweave", "Produit avec Landweave"),
    "map": ("Map", "Carte"),
    "map_help": (
        "Map. Arrow keys move it, plus and minus zoom.",
        "Carte. Les flèches la déplacent, plus et moins changent l’échelle.",
    ),
    "measured": ("Measured", "Mesuré"),
    "memory": ("Memory of a process", "Mémoire d’un processus"),
    "model": ("Model", "Modèle"),
    "no_aerial": ("There is no aerial picture in this page:", "Cette page n’a pas de photo aérienne :"),
    "no_configuration": (
        "the map was named without its configuration.",
        "la carte a été donnée sans sa configuration.",
    ),
    "no_areas": (
        "Areas are not stated: the CRS of the map does not keep them.",
        "Les surfaces ne sont pas indiquées : la projection de la carte ne les conserve pas.",
    ),
    "no_script": (
        "The map needs JavaScript; the tables below do not.",
        "La carte a besoin de JavaScript ; les tableaux ci-dessous, non.",
    ),
    "none": ("None", "Aucune"),
    "not_mapped": ("Not mapped", "Non cartographié"),
    "not_shown": ("not mapped", "non cartographié"),
    "observations": ("dates", "dates"),
    "old_browser": (
        "This browser is too old to show the map (2023 or newer is needed); the tables below are complete.",
        "Ce navigateur est trop ancien pour afficher la carte (2023 ou plus récent) ; les tableaux sont complets.",
    ),
    "opacity": ("Opacity", "Opacité"),
    "output_size": ("Size of the map", "Taille de la carte"),
    "per_block": ("A block takes", "Un bloc demande"),
    "pixel": ("Pixel", "Pixel"),
    "planned": ("Planned", "Prévu"),
    "planned_help": (
        "The last run beside what its plan said. Cost and energy are those of the hours that it took.",
        "Le dernier calcul, comparé à sa prévision. Coût et énergie sont ceux des heures qu’il a prises.",
    ),
    "price": ("Cost", "Coût"),
    "progress": ("Progress", "Avancement"),
    "provenance": ("Provenance", "Provenance"),
    "resolution_note": ("Shown here in pixels of", "Affiché ici en pixels de"),
    "share": ("Share", "Part"),
    "skip": ("Skip to the areas by class", "Aller aux surfaces par classe"),
    "software": ("Software", "Logiciels"),
    "source": ("Credit", "Source"),
    "sources": ("Imagery", "Images"),
    "swipe": ("Compare with the aerial picture", "Comparer avec la photo aérienne"),
    "swipe_position": ("Position of the divider", "Position du rideau"),
    "total": ("Total", "Total"),
    "weights": ("sha256 of the weights", "sha256 des poids"),
    "windows": ("Windows predicted", "Fenêtres prédites"),
    "zone": ("Zone", "Zone"),
    "zones": ("Areas by zone (ha)", "Surfaces par zone (ha)"),
    "zones_help": (
        "Select a zone to see it on the map.",
        "Un clic sur une zone la montre sur la carte.",
    ),
    "zone_choice": ("Areas of", "Surfaces de"),
    "zoom_in": ("Zoom in", "Zoom avant"),
    "zoom_out": ("Zoom out", "Zoom arrière"),
}


def words(language: Language) -> dict[str, str]:
    """All words in one language, by their key."""
    place = LANGUAGES.index(language)
    return {key: pair[place] for key, pair in WORDS.items()}

"""Sentences of the test voices' own languages, twelve each, in their orthography."""

from __future__ import annotations

ESPEAK = {"en-US": "en-us", "en-GB": "en-gb", "es": "es", "fr": "fr-fr", "hi": "hi", "it": "it"}
"""Manifest language -> espeak-ng's code, as kokoro-onnx takes it."""

SENTENCES = {
    "es": (
        "Mi hermana compra pan y queso en el mercado.",
        "El tren de la mañana sale a las siete y media.",
        "Los niños juegan al fútbol detrás de la escuela.",
        "¿Dónde has dejado las llaves del coche azul?",
        "Mañana vamos a visitar a nuestros abuelos en el campo.",
        "La ventana de la cocina está abierta desde ayer.",
        "El médico trabaja todos los días en el hospital.",
        "Me gusta leer un buen libro antes de dormir.",
        "En invierno hace mucho frío en las montañas.",
        "El perro negro corre por la playa con su dueño.",
        "Ella escribe una carta larga a su mejor amiga.",
        "Después de la lluvia salió el sol sobre la ciudad.",
    ),
    "fr": (
        "Ma sœur achète du pain et du fromage au marché.",
        "Le train du matin part à sept heures et demie.",
        "Les enfants jouent au ballon derrière l'école.",
        "Où as-tu laissé les clés de la voiture bleue ?",
        "Demain nous allons rendre visite à nos grands-parents.",
        "La fenêtre de la cuisine est ouverte depuis hier.",
        "Le médecin travaille tous les jours à l'hôpital.",
        "J'aime lire un bon livre avant de dormir.",
        "En hiver il fait très froid dans les montagnes.",
        "Le chien noir court sur la plage avec son maître.",
        "Elle écrit une longue lettre à sa meilleure amie.",
        "Après la pluie le soleil est revenu sur la ville.",
    ),
    "hi": (
        "मेरी बहन बाज़ार से रोटी और दूध लाती है।",
        "सुबह की गाड़ी साढ़े सात बजे चलती है।",
        "बच्चे स्कूल के पीछे मैदान में खेल रहे हैं।",
        "तुमने नीली गाड़ी की चाबी कहाँ रखी है?",
        "कल हम अपने दादा जी से मिलने गाँव जाएँगे।",
        "रसोई की खिड़की कल से खुली हुई है।",
        "डॉक्टर हर दिन अस्पताल में काम करते हैं।",
        "मुझे सोने से पहले किताब पढ़ना अच्छा लगता है।",
        "सर्दियों में पहाड़ों पर बहुत ठंड होती है।",
        "काला कुत्ता नदी के किनारे दौड़ रहा है।",
        "वह अपनी सहेली को एक लंबा पत्र लिखती है।",
        "बारिश के बाद शहर में धूप निकल आई।",
    ),
    "it": (
        "Mia sorella compra il pane e il formaggio al mercato.",
        "Il treno del mattino parte alle sette e mezza.",
        "I bambini giocano a pallone dietro la scuola.",
        "Dove hai lasciato le chiavi della macchina blu?",
        "Domani andiamo a trovare i nostri nonni in campagna.",
        "La finestra della cucina è aperta da ieri.",
        "Il medico lavora tutti i giorni in ospedale.",
        "Mi piace leggere un buon libro prima di dormire.",
        "In inverno fa molto freddo sulle montagne.",
        "Il cane nero corre sulla spiaggia con il suo padrone.",
        "Lei scrive una lunga lettera alla sua migliore amica.",
        "Dopo la pioggia il sole è tornato sulla città.",
    ),
}

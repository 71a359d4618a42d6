"""Words that name no topic: function words and small talk of languages written with spaces."""

# English, German, French, Spanish, Portuguese, Italian; some stand in several.
_WORDS = """
a able about amazing pass passes honestly appreciate kinda wanna lots guys above across actually add
added after again against agent all almost already also although always am an and another answer any
anyone anything are around as ask asked at away awesome back be became because become been before being
below best better between big bit both but by call called came can cannot case change changed changes
check come comes could course current currently day days definitely did didn different do does doesn
doing don done down each easy either else end enough even ever every everyone everything example exactly
excited far feel feeling few file files find fine first following for found from full fully fun further
get gets getting give given gives glad go goes going gone gonna good got great guess had hand happen
happy hard has have having he hear hello help helped helps her here hey hi him his hope how however i
idea if important in including inside instead into is isn it its itself just keep keeps kind know last
late later least left less let life like line lines list little ll long look looking looks lot love made
main make makes making many maybe me mean means message might mind more most much must my name need
needed needs never new next nice no none not note nothing now number of off often oh ok okay old on once
one only open or order other others our out over own part people place please point possible pretty
probably problem put question quite rather re read ready real really reason result right run running
runs said same saw say says second see seem seems seen send sent set several she should show shows side
simple since single small so some someone something soon sort sounds special start started still stop
such super support sure take takes taking talk tell text than thank thanks that the their them then
there these they thing things think this those though thought three through time times to today together
told tomorrow too took top totally tried true try trying turn two under understand until up update us
use used user uses using ve very via want wanted wants was wasn way we week well went were what when
where whether which while who whole why will wish with within without won wonder word words work worked
working works would wow write wrong yeah year years yes yesterday yet you your yours
aber alle allem allen aller alles als also am an ander andere anderen auch auf aus bei beim bin bis
bitte brauche brauchen da damit dann das dass dein dem den denn der des dich die dies diese diesem
diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwas euch für gibt
habe haben hat hatte hier ich ihm ihn ihr ihre im immer ist ja jede jeden jetzt kann kannst kein keine
können machen man mehr mein mich mir mit muss müssen nach nicht nichts noch nun nur oder ohne schon sehr
sein sich sie sind soll sollen sollte über um und uns unser unter viel vom von vor war waren warum was
weil welche wenn wer werden wie wieder will wir wird wurde zu zum zur zwei
alors aussi autre avant avec avoir bien bonjour car ce cela ces cet cette comme comment dans de des deux
donc du elle elles en encore entre est et être fait faire faut ici il ils je la le les leur leurs lui
mais merci même mes moi mon ne non nos notre nous ont ou où oui par parce pas peut plus pour pourquoi qu
quand que quel quelle qui sans ses si son sont sous sur ta tes toi ton tous tout toute très tu un une
veux voici voilà vos votre vous
algo ante antes aquí así aunque cada como con contra cual cuando de del desde donde dos el ella ellos en
entonces entre era eres es esa ese eso esta está estaba están este esto fue gracias ha hace hacer hay
hola la las les lo los más me mi mientras mismo muy nada ni no nos nosotros nuestro o otra otro para
pero poco por porque puede puedo que qué quien quiero se sea ser si sí sin sobre son su sus también te
tengo tiene todo todos tu tus un una uno usted y ya
ainda até com da das do dos ela ele em esse essa estou isso isto mas meu minha muito na não nas nem
nossa nosso num numa obrigado os ou pela pelo pode por quando quem são sem seu sua só tem uma você
alla anche ancora che chi ci come con cosa così dal dalla degli dei del della delle di dove ecco gli ho
io lei loro ma mi molto nel nella noi non ogni per perché più poi quale quando quello questa questo qui
sarà sei sia sono sul sulla suo tra tutti tutto un uno voglio voi
"""

STOP_WORDS = frozenset(_WORDS.split())

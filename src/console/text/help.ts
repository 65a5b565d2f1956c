// What --help says beyond the tables of flags.
// Invariant: no line is wider than 80 columns, and what is promised here is what menu.ts and commands.ts do.
// Never: prints.

import { JOIN_DEFAULT } from "../menu.ts";

const READY = `Quando stderr não é um terminal, a linha "pronto IP:PORTA" sai em stderr assim
que o programa atende.`;

export function serverHelp(usage: string): string {
  return `napster-server: o servidor central, que sabe qual peer tem qual arquivo.

${usage}
Sem --host ou --port, pergunta o que falta (Enter = 127.0.0.1 e 1099). Se a
entrada não é um terminal, cada linha é uma resposta, e linha vazia é o padrão.
Atende até Ctrl+C, a palavra sair ou um sinal. Em stdout saem só as linhas de
JOIN e de SEARCH.

${READY}

Saída: 0 terminou a pedido; 1 falhou; 2 uso errado.
`;
}

const JSON_EVENTS = `Com --json, cada linha de stdout é um objeto, com "event" entre:
  server (ip, port, name): achado na rede, quando nenhum é dado
  joined (ip, port, files)              ready (ip, port): de volta à rede
  unreachable (ip, port, code): outros não conseguem conectar a este peer, e não
    veem seus arquivos
  reachable (ip, port, through, router): agora conseguem; through diz se por uma
    porta que o roteador abriu
  contents (words, contents, more, isCut): more e isCut dizem se há outros
  found (name, peers)                   queued (name, from, position)
  progress (name, bytes, size, rate, etaSeconds, sources, waiting): uma vez por
    segundo; bytes são os verificados, rate em bytes por segundo; waiting diz o
    que se espera: {for: data ou root, from}, {for: disk, full, slow} ou
    {for: check}
  source-lost (from, code): uma fonte caiu, por ora ou de vez (CORRUPT: mentiu)
  waiting (name, code, message, hint): falhou, e tenta de novo
  queue (files, done, here, failed, waiting, running, bytes, rate): de vários
    arquivos, uma vez por segundo       summary (o mesmo; failed com name, code)
  here (name, folder, bytes): já estava na pasta, com o mesmo conteúdo
  downloaded (name, folder, bytes)      uploaded (name, to, bytes)
  shared, withdrawn, returned (name): um arquivo chegou à pasta e é
    compartilhado; mudou ou foi apagado; voltou a ser compartilhado
  hashed (name, root; em hash também path, size, pieceBytes)
  verified (name, verdict, root, pieces, code); verdict é ok, damaged, changed,
    new ou unread
  preparing (name), playing (name, address, opened): o endereço em que um player
    desta máquina lê o arquivo, e se algum foi aberto
  page (url), guests (url): os endereços da página e da página de convidados
  cancelled (name): um download, de propósito, com Ctrl+C
  doctor (ok, server, seen, reached, through, folder, clock, problems…): a
    página de doctor, que fica na rede por um instante, sem arquivos
  error (code, message, hint, e name, se é de um download)
  warning (code, message, hint): segue assim mesmo`;

const PAGE = `web, e a tecla W no menu, abrem no navegador desta máquina uma página com a
busca, os downloads, os envios, a pasta e os limites; o endereço é só seu.
--guests mostra outro endereço, e um código QR: na mesma rede, quem não tem o
programa vê, toca e baixa o que você compartilha, sem cifra, contando nas vagas
e taxas de envio.`;

const PLAYING = `play, get --play e a tecla P durante um download abrem o arquivo no player do
sistema já enquanto chega; o que o player lê é baixado primeiro. Sem player, o
endereço aparece em stderr. O programa fica até que nenhum player tenha o
arquivo aberto por um minuto, ou Ctrl+C. O que já está na pasta só é aberto.

${PAGE}`;

const MANY = `Vários nomes são vários arquivos, até --max-downloads ao mesmo tempo; os outros
esperam a vez. No lugar dos nomes: --match 'aula*.mp4' (sem contar maiúsculas;
precisa do começo de uma palavra), --words aula redes (palavras, ou começos
delas), --list ARQUIVO (um nome por linha) ou --resume (tudo o que tem um .part
na pasta). No fim, um resumo. O que já está na pasta com o conteúdo que o peer
tem não é baixado de novo, e conta como feito.
Com --wait, o que nenhum peer tem é baixado quando um o trouxer, e o que falha é
tentado de novo, com pausas de 5 s a 10 min, até conseguir ou Ctrl+C. --match e
--words valem para os nomes que há no começo, também com --wait.

get de um arquivo que algum peer tinha tenta de novo sozinho, com pausas de 5 s
a 10 min, quando a fonte some, não responde ou está ocupada, e diz o que espera;
--max-wait limita o tempo sem chegar nada. O que nenhum peer tem no começo sai
logo com 3, salvo com --wait.`;

export function peerHelp(usage: string): string {
  return `napster-peer: compartilha os arquivos de uma pasta e baixa os de outros peers.

${usage}
Menu: JOIN pergunta IP, porta e pasta (Enter = o IP com que esta máquina chega
ao servidor, ${JOIN_DEFAULT.port} e a pasta napster em Vídeos, que ele cria), SEARCH pergunta o
nome do arquivo, DOWNLOAD pergunta IP e porta do peer que tem o último arquivo
procurado. O que veio em opções não é perguntado. Depois da primeira vez, Enter
= o que este peer tem agora. Um JOIN recusado só pergunta de novo o que estava
errado.
Ctrl+C durante um download o cancela; fora dele, sai, como a palavra sair. Esc
volta ao menu; um download segue assim mesmo, tenta de novo sozinho até
conseguir, e a linha dele aparece quando termina. Ctrl+Z e fg (fora do Windows)
param o programa e o retomam.

Se a entrada não é um terminal, cada linha é uma resposta: a palavra JOIN,
SEARCH ou DOWNLOAD e depois as respostas dela, uma por linha; linha vazia é o
padrão. Resposta inválida é um erro em stderr e a linha seguinte responde à
mesma pergunta. Um comando que falha volta ao menu; SEARCH antes de JOIN e
DOWNLOAD antes de SEARCH falham sem perguntar, e as linhas que seriam respostas
deles são puladas até a próxima palavra do menu. No fim da entrada, sai, com 1
se um comando falhou.

share, search, find e get entram na rede com o IP que chega ao servidor e porta
livre, salvo --host e --port. --host 0.0.0.0 (no menu também) escuta em todos os
IPs da máquina, e vale o endereço que o servidor vê. Um download interrompido
continua de onde parou quando é repetido.

get compartilha o que baixa, desde a primeira parte e até sair, e nenhum outro
arquivo da pasta; com --share, a pasta inteira; com --no-share, nada. Se a pasta
tem mais arquivos do que o servidor aceita, entram os primeiros em ordem
alfabética, e o programa diz quantos ficaram de fora.

${PLAYING}

${MANY}

--server e --from aceitam nomes (meu-pc.local) e, sem porta, valem 1099 e ${JOIN_DEFAULT.port}.
Um nome de arquivo que começa com - vem depois de --: get --dir d -- -x.mp4

search e find só perguntam: em stdout sai só a resposta. find mostra de cada
conteúdo "FONTES TAMANHO NOME", com TAB no meio, e em stderr quantos há além de
--limit; maiúsculas e acentos não contam: acao acha Ação.

TAXA é em bytes por segundo: 800000; 500K, 5M, 1G (mil, milhão, bilhão); ou
512Ki, 2Mi, 1Gi (potências de 1024).

Um peer com todas as vagas de envio ocupadas põe o download na fila, e aparece
"na fila de IP:PORTA, posição N" (uma linha de stderr a cada mudança, se stderr
não é um terminal). Se a posição não muda por --max-wait segundos, o download
é dado por rejeitado; no menu de um terminal e em get isso não tem limite, salvo
se a opção é dada, e Ctrl+C desiste.

hash mostra "ROOT TAMANHO PARTE NOME" de cada arquivo: a raiz BEP 52 do conteúdo
(SHA-256, 64 dígitos) e os tamanhos do arquivo e da parte em bytes. Com
--verify, lê tudo de novo e diz de cada arquivo da pasta: ok; danificado, com as
partes (contadas de 0) que não são mais as registradas; mudou (foi editado desde
o registro); novo (não havia registro; agora há); ilegível.

${JSON_EVENTS}

${READY}

Saída: 0 feito; 1 falhou (em hash: há arquivo danificado ou ilegível); 2 uso
errado; 3 nenhum peer tem o arquivo; 4 o peer rejeitou o download; 5 a pasta tem
um arquivo com esse nome, e não se sabe ser o mesmo. De vários arquivos, vale o
pior, nesta ordem: 1, 3, 4, 5, 0.
`;
}

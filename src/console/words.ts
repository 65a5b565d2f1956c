// The words that leave, go back, or ask for help at any question.
// Invariant: such a word is understood only where it is no valid answer.
// Never: knows commands.

/** Why there is no answer: the input ended (with the last answer refused, or not), taken back, or to leave the program. */
export type Stop = { readonly stop: "end" | "refused-end" | "back" | "leave" };

const LEAVE = ["SAIR", "SAI", "Q", "QUIT", "EXIT", "FIM", "BYE", "TCHAU", ":Q", "FECHAR", "ENCERRAR"];
const BACK = ["VOLTAR", "VOLTA", "BACK", "MENU", "CANCELAR", "CANCELA", "CANCEL"];
const HELP = ["AJUDA", "HELP", "?", "H", "-H", "--HELP", "/?"];

/** What a word that is no answer stops, if it means to. */
export function stopMeant(word: string): Stop | undefined {
  const upper = word.trim().toUpperCase();
  if (LEAVE.includes(upper)) return { stop: "leave" };
  return BACK.includes(upper) ? { stop: "back" } : undefined;
}

export const asksHelp = (word: string): boolean => HELP.includes(word.trim().toUpperCase());
